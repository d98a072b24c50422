//! The program `lanyard`: a command line in, an exit code out.

fn main() -> std::process::ExitCode {
    lanyard_agent::cli::main().into()
}
