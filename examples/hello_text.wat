;; SPDX-License-Identifier: Apache-2.0
;; Hello in the text format of WebAssembly: one WASI call, nothing else.
;;
;;   viv run examples/hello_text.wat
(module
  ;; fd_write(descriptor, list of buffers, how many, where to put the bytes written) -> error
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))

  (memory (export "memory") 1)
  ;; One buffer: address 16, length 6, both little endian.
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "hello\n")

  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
