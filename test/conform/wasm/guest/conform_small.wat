;; SPDX-License-Identifier: Apache-2.0
;; Case 108: a module with one of each section, which is cut and damaged.
(module
  (import "lunatic::process" "process_id" (func $self (result i64)))
  (import "lunatic::message" "create_data" (func $create (param i64 i64)))
  (import "lunatic::message" "write_data" (func $write (param i32 i32) (result i32)))
  (type $binary (func (param i32 i32) (result i32)))
  (memory (export "memory") 1 3)
  (table $ops 4 8 funcref)
  (global $count (mut i32) (i32.const 7))
  (data (i32.const 16) "some bytes of data")
  (elem (i32.const 0) $add $sub)
  (func $add (type $binary) (i32.add (local.get 0) (local.get 1)))
  (func $sub (type $binary) (i32.sub (local.get 0) (local.get 1)))
  (func $init (global.set $count (i32.const 9)))
  (start $init)
  (func (export "run") (local $i i32) (local $sum i32) (local $id i64)
    (local.set $id (call $self))
    (call $create (i64.const 3) (i64.const 64))
    (block $done
      (loop $again
        (br_if $done (i32.ge_u (local.get $i) (global.get $count)))
        (local.set $sum
          (call_indirect $ops (type $binary)
            (local.get $sum) (local.get $i) (i32.and (local.get $i) (i32.const 1))))
        (i32.store (i32.const 64) (local.get $sum))
        (drop (call $write (i32.const 64) (i32.const 4)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $again)))
    (drop (memory.grow (i32.const 1)))
    (drop (f64.sqrt (f64.convert_i32_s (local.get $sum))))))
