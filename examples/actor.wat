;; SPDX-License-Identifier: Apache-2.0
;; Actors in the text format, on the ABI of lunatic: a counter that owns a number, and three clients
;; that add to it. Nothing is shared; the counter's mailbox puts the additions in a row.
;;
;;   viv run examples/actor.wat          prints: the counter is at 60
;;
;;   main ──spawn──> counter <──add n, ten times──── client 1, 2, 3 <──spawn── main
;;   main <──done─── each client;   main ──get──> counter ──the number──> main
;;
;; A message is built in the scratch area (create_data, write_data), then sent. A received one is
;; there, too: read_data takes its bytes.
(module
  ;; spawn(link, config, module, function, its length, parameters, their length, where the pid goes)
  (import "lunatic::process" "spawn"
    (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "process_id" (func $self (result i64)))
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "write_data" (func $write_data (param i32 i32) (result i32)))
  (import "lunatic::message" "read_data" (func $read_data (param i32 i32) (result i32)))
  (import "lunatic::message" "get_tag" (func $get_tag (result i64)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  ;; receive(tags, how many, timeout in ms) -> 0 data, 1 and 2 ends of others, 9027 timeout
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))

  (memory (export "memory") 1)
  ;; 0: pid out   8: number sent or received   16: tag list   32: parameters of a spawn, 17 bytes each
  ;; 80: buffer list of fd_write               96: output line
  (data (i32.const 256) "counter")
  (data (i32.const 264) "client")
  (data (i32.const 96) "the counter is at       \n")

  ;; Tags: what a message means.
  (global $ADD i64 (i64.const 1))
  (global $GET i64 (i64.const 2))
  (global $REPLY i64 (i64.const 3))
  (global $DONE i64 (i64.const 4))

  ;; Sends one number under a tag.
  (func $tell (param $to i64) (param $tag i64) (param $number i64)
    (i64.store (i32.const 8) (local.get $number))
    (call $create_data (local.get $tag) (i64.const 8))
    (drop (call $write_data (i32.const 8) (i32.const 8)))
    (drop (call $send (local.get $to))))

  ;; Waits for a message with that tag (0: any) and returns its number.
  (func $hear (param $tag i64) (result i64)
    (i64.store (i32.const 16) (local.get $tag))
    (if (i32.ne (i32.const 0)
          (call $receive (i32.const 16) (i64.ne (local.get $tag) (i64.const 0)) (i64.const 10000)))
      (then unreachable)) ;; ends this process; nobody else
    (drop (call $read_data (i32.const 8) (i32.const 8)))
    (i64.load (i32.const 8)))

  ;; Parameter $index of the next spawn: type byte 0x7E (i64), then the value.
  (func $param (param $index i32) (param $value i64)
    (local $at i32)
    (local.set $at (i32.add (i32.const 32) (i32.mul (local.get $index) (i32.const 17))))
    (i32.store8 (local.get $at) (i32.const 0x7E))
    (i64.store offset=1 align=1 (local.get $at) (local.get $value)))

  ;; Spawns an exported function of this module, not linked, with our own rights and limits.
  (func $start (param $name i32) (param $len i32) (param $params i32) (result i64)
    (if (i32.ne (i32.const 0)
          (call $spawn (i64.const 0) (i64.const -1) (i64.const -1) (local.get $name) (local.get $len)
            (i32.const 32) (i32.mul (local.get $params) (i32.const 17)) (i32.const 0)))
      (then unreachable))
    (i64.load (i32.const 0)))

  ;; ---- the counter: its number lives in a local, only it can change it ----
  (func (export "counter")
    (local $total i64) (local $number i64)
    (loop $again
      (local.set $number (call $hear (i64.const 0)))
      (if (i64.eq (call $get_tag) (global.get $ADD))
        (then
          (local.set $total (i64.add (local.get $total) (local.get $number)))
          (br $again))))
    ;; GET: its number is the pid of who asks. Then the counter ends.
    (call $tell (local.get $number) (global.get $REPLY) (local.get $total)))

  ;; ---- a client: adds $step ten times, then tells main ----
  (func (export "client") (param $counter i64) (param $main i64) (param $step i64)
    (local $left i32)
    (local.set $left (i32.const 10))
    (loop $again
      (call $tell (local.get $counter) (global.get $ADD) (local.get $step))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (call $tell (local.get $main) (global.get $DONE) (local.get $step)))

  ;; ---- main ----
  (func (export "_start")
    (local $counter i64) (local $step i64)
    (local.set $counter (call $start (i32.const 256) (i32.const 7) (i32.const 0)))
    (loop $again
      (local.set $step (i64.add (local.get $step) (i64.const 1)))
      (call $param (i32.const 0) (local.get $counter))
      (call $param (i32.const 1) (call $self))
      (call $param (i32.const 2) (local.get $step))
      (drop (call $start (i32.const 264) (i32.const 6) (i32.const 3)))
      (br_if $again (i64.lt_u (local.get $step) (i64.const 3))))
    ;; A client's DONE means that its ten additions have been sent; the counter gets our GET later.
    (drop (call $hear (global.get $DONE)))
    (drop (call $hear (global.get $DONE)))
    (drop (call $hear (global.get $DONE)))
    (call $tell (local.get $counter) (global.get $GET) (call $self))
    (call $print (call $hear (global.get $REPLY))))

  ;; Writes the number into the line, last digit first, and prints the line.
  (func $print (param $number i64)
    (local $at i32) (local $digits i32)
    (local.set $at (i32.const 114)) ;; where the number begins
    (local.set $digits (i32.const 1))
    (if (i64.ge_u (local.get $number) (i64.const 10)) (then (local.set $digits (i32.const 2))))
    (i32.store8 (i32.sub (i32.add (local.get $at) (local.get $digits)) (i32.const 1))
      (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 10)))))
    (if (i32.eq (local.get $digits) (i32.const 2))
      (then
        (i32.store8 (local.get $at)
          (i32.add (i32.const 48) (i32.wrap_i64 (i64.div_u (local.get $number) (i64.const 10)))))))
    (i32.store8 (i32.add (local.get $at) (local.get $digits)) (i32.const 10))
    (i32.store (i32.const 80) (i32.const 96))
    (i32.store (i32.const 84)
      (i32.add (i32.sub (local.get $at) (i32.const 95)) (local.get $digits)))
    (drop (call $fd_write (i32.const 1) (i32.const 80) (i32.const 1) (i32.const 88)))))
