#[global_allocator]
static ALLOCATOR: polygate::pages::HugePages = polygate::pages::HugePages;

fn main() -> std::process::ExitCode {
    polygate::cli::main()
}
