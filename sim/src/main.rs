//! The tool: simulated runs, scenarios, reports and the demo.

mod cli;

/// Runs are short and make many small things: the system's allocator was a fifth of their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
