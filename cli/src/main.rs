//! The binary: everything is in the library.

/// Steps are many small values made and dropped by all threads: the system's allocator took a quarter of the coordinator's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    stepmill::main()
}
