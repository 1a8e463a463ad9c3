;; SPDX-License-Identifier: Apache-2.0
;; A worker of the showcase: one page of memory, one function. worker(next): passes tokens on to the process `next`.
;;   tag 1: a token of 8 bytes, sent on    tag 2: 8 bytes, the pid that is `next` from now on    tag 3: crash
(module
  (import "viv" "receive" (func $receive (param i32 i32 i64 i32 i32 i32) (result i32)))
  (import "viv" "send" (func $send (param i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "worker") (param $next i64) (local $tag i64)
    (loop $again
      ;; payload to 0, viv_msg to 16; its tag is at 16 + 8
      (if (call $receive (i32.const 0) (i32.const 0) (i64.const -1) (i32.const 0) (i32.const 8)
            (i32.const 16))
        (then unreachable))
      (local.set $tag (i64.load (i32.const 24)))
      (if (i64.eq (local.get $tag) (i64.const 1))
        (then (drop (call $send (local.get $next) (i64.const 1) (i32.const 0) (i32.const 8)
          (i32.const 0) (i32.const 0) (i32.const 0)))))
      (if (i64.eq (local.get $tag) (i64.const 2))
        (then (local.set $next (i64.load (i32.const 0)))))
      (if (i64.eq (local.get $tag) (i64.const 3)) (then unreachable))
      (br $again))))
