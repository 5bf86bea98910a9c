fn main() -> std::process::ExitCode {
    polygate::cli::main()
}
