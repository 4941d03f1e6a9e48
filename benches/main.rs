//! The benches: a file a question. `cargo bench -p vethlab -- [--smoke] [QUESTION…]` runs those named, or all.
//!
//! One binary, because each further one is optimised and linked anew.

mod bare;
mod common;
mod dns;
mod forward;
mod idle;
mod kernel;
mod start;
mod tcp;

fn main() {
    if let Ok(work) = std::env::var(kernel::AGENT) {
        return kernel::agent(&work);
    }
    let questions: &[(&str, fn())] = &[
        ("forward", forward::run),
        ("tcp", tcp::run),
        ("start", start::run),
        ("idle", idle::run),
        ("dns", dns::run),
        ("kernel", kernel::run),
    ];
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    for name in &named {
        assert!(
            questions.iter().any(|(known, _)| known == name),
            "no bench is called {name}"
        );
    }
    for (name, run) in questions {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            run();
            println!();
        }
    }
}
