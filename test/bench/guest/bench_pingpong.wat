;; SPDX-License-Identifier: Apache-2.0
;; main(count: i64): two processes send empty messages to and fro, count in all.
(module
  (import "lunatic::process" "spawn"
    (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "process_id" (func $self (result i64)))
  (import "lunatic::message" "create_data" (func $create (param i64 i64)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "pong")
  (func $tell (param $to i64)
    (call $create (i64.const 1) (i64.const 0))
    (drop (call $send (local.get $to))))
  (func $wait
    (if (call $receive (i32.const 0) (i32.const 0) (i64.const -1)) (then unreachable)))
  (func (export "pong") (param $peer i64) (param $count i64)
    (loop $again
      (call $wait)
      (call $tell (local.get $peer))
      (local.set $count (i64.sub (local.get $count) (i64.const 2)))
      (br_if $again (i64.gt_s (local.get $count) (i64.const 0)))))
  (func (export "main") (param $count i64) (local $peer i64)
    (i32.store8 (i32.const 100) (i32.const 0x7e))
    (i64.store (i32.const 101) (call $self))
    (i32.store8 (i32.const 117) (i32.const 0x7e))
    (i64.store (i32.const 118) (local.get $count))
    (if (call $spawn (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 4)
          (i32.const 100) (i32.const 34) (i32.const 64))
      (then unreachable))
    (local.set $peer (i64.load (i32.const 64)))
    (loop $again
      (call $tell (local.get $peer))
      (call $wait)
      (local.set $count (i64.sub (local.get $count) (i64.const 2)))
      (br_if $again (i64.gt_s (local.get $count) (i64.const 0))))))
