;; SPDX-License-Identifier: Apache-2.0
;; Spawns children one after another; each sends one message to its parent and ends.
;; main(parents: i64, count: i64): with parents > 1 that many processes do it side by side, count in all.
(module
  (import "lunatic::process" "spawn"
    (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "process_id" (func $self (result i64)))
  (import "lunatic::message" "create_data" (func $create (param i64 i64)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "child")
  (data (i32.const 8) "parent")
  ;; 64: the result of spawn; 100: parameters, 17 bytes each
  (func $start (param $name i32) (param $len i32) (param $params i32)
    (if (call $spawn (i64.const 0) (i64.const -1) (i64.const -1) (local.get $name) (local.get $len)
          (i32.const 100) (local.get $params) (i32.const 64))
      (then unreachable)))
  (func $wait
    (if (call $receive (i32.const 0) (i32.const 0) (i64.const -1)) (then unreachable)))
  (func $set (param $at i32) (param $value i64)
    (i32.store8 (local.get $at) (i32.const 0x7e))
    (i64.store offset=1 (local.get $at) (local.get $value)))
  (func (export "child") (param $parent i64)
    (call $create (i64.const 1) (i64.const 0))
    (drop (call $send (local.get $parent))))
  (func $work (param $count i64)
    (call $set (i32.const 100) (call $self))
    (loop $again
      (call $start (i32.const 0) (i32.const 5) (i32.const 17))
      (call $wait)
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $again (i64.gt_s (local.get $count) (i64.const 0)))))
  (func (export "parent") (param $main i64) (param $count i64)
    (call $work (local.get $count))
    (call $create (i64.const 1) (i64.const 0))
    (drop (call $send (local.get $main))))
  (func (export "main") (param $parents i64) (param $count i64) (local $i i64)
    (if (i64.eq (local.get $parents) (i64.const 1))
      (then (call $work (local.get $count)) (return)))
    (call $set (i32.const 100) (call $self))
    (call $set (i32.const 117) (i64.div_u (local.get $count) (local.get $parents)))
    (loop $again
      (call $start (i32.const 8) (i32.const 6) (i32.const 34))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $i) (local.get $parents))))
    (loop $again
      (call $wait)
      (local.set $i (i64.sub (local.get $i) (i64.const 1)))
      (br_if $again (i64.ne (local.get $i) (i64.const 0))))))
