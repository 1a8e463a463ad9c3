;; SPDX-License-Identifier: Apache-2.0
;; run(n: i64): the n-th Fibonacci number the slow way. Imports nothing, so that a bare engine can run it too.
(module
  (func $fib (param $n i64) (result i64)
    (if (result i64) (i64.lt_s (local.get $n) (i64.const 2))
      (then (local.get $n))
      (else (i64.add
        (call $fib (i64.sub (local.get $n) (i64.const 1)))
        (call $fib (i64.sub (local.get $n) (i64.const 2)))))))
  (func (export "run") (param $n i64)
    (drop (call $fib (local.get $n)))))
