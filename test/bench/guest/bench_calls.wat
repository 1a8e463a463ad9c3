;; SPDX-License-Identifier: Apache-2.0
;; Loops that measure one thing each: call(n), write(n), empty(n); spin() never ends; fib(n) computes and drops.
(module
  (import "lunatic::process" "process_id" (func $self (result i64)))
  (import "lunatic::message" "create_data" (func $create (param i64 i64)))
  (import "lunatic::message" "write_data" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "call") (param $n i64)
    (loop $again
      (drop (call $self))
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $again (i64.gt_s (local.get $n) (i64.const 0)))))
  (func (export "write") (param $n i64)
    (call $create (i64.const 1) (i64.const 0))
    (loop $again
      (drop (call $write (i32.const 0) (i32.const 1)))
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $again (i64.gt_s (local.get $n) (i64.const 0)))))
  (func (export "spin")
    (loop $again (br $again))))
