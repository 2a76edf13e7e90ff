//! The `latchkey` command; everything is in the library.

fn main() -> std::process::ExitCode {
    latchkey::cli::run()
}
