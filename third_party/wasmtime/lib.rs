//! The C API of Wasmtime as one static library.
pub use wasmtime_c_api::*;
