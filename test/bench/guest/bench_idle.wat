;; SPDX-License-Identifier: Apache-2.0
;; main(count: i64) spawns that many processes of one page which wait for ever, then waits too.
(module
  (import "lunatic::process" "spawn"
    (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "wait")
  (func $wait (export "wait")
    (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1))))
  (func (export "main") (param $count i64)
    (loop $again
      (if (call $spawn (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 4)
            (i32.const 0) (i32.const 0) (i32.const 64))
        (then unreachable))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $again (i64.gt_s (local.get $count) (i64.const 0))))
    (call $wait)))
