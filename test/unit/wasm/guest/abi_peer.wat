;; SPDX-License-Identifier: Apache-2.0
;; The other side of case 106, on the ABI of lunatic: receives one message (tag 42, 5 bytes, a module at
;; index 0), and answers under tag 43 with the bytes turned round and the module again.
(module
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "lunatic::message" "get_tag" (func $get_tag (result i64)))
  (import "lunatic::message" "data_size" (func $data_size (result i64)))
  (import "lunatic::message" "read_data" (func $read_data (param i32 i32) (result i32)))
  (import "lunatic::message" "take_module" (func $take_module (param i64) (result i64)))
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "write_data" (func $write_data (param i32 i32) (result i32)))
  (import "lunatic::message" "push_module" (func $push_module (param i64) (result i64)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "peer") (param $parent i64)
    (local $module i64) (local $i i32)
    (if (call $receive (i32.const 0) (i32.const 0) (i64.const 10000)) (then unreachable))
    (if (i64.ne (call $get_tag) (i64.const 42)) (then unreachable))
    (if (i64.ne (call $data_size) (i64.const 5)) (then unreachable))
    (if (i32.ne (call $read_data (i32.const 0) (i32.const 100)) (i32.const 5)) (then unreachable))
    (local.set $module (call $take_module (i64.const 0)))
    (call $create_data (i64.const 43) (i64.const 0))
    (local.set $i (i32.const 5))
    (loop $again
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (drop (call $write_data (local.get $i) (i32.const 1)))
      (br_if $again (local.get $i)))
    (if (i64.ne (call $push_module (local.get $module)) (i64.const 0)) (then unreachable))
    (drop (call $send (local.get $parent)))))
