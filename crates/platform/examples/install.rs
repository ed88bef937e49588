//! Installs the named catalog entries into a folder, printing each event: `install CACHE_DIR NAME…`. The tests run it
//! as a process of its own, to kill it.

use std::{path::PathBuf, process::ExitCode};

use isa_platform::{
    catalog,
    install::{EventKind, install},
};

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(cache_dir) = args.next().map(PathBuf::from) else {
        eprintln!("usage: install CACHE_DIR NAME…");
        return ExitCode::FAILURE;
    };
    let mut entries = Vec::new();
    for name in args {
        let Some(entry) = catalog().get(&name) else {
            eprintln!("error: nothing is called {name:?}");
            return ExitCode::FAILURE;
        };
        entries.push(entry);
    }
    let report = |event: isa_platform::install::Event| {
        if !matches!(event.kind, EventKind::Advanced(done) if done % 100 != 0) {
            println!("{}: {:?}", event.name, event.kind);
        }
    };
    let failed = install(&cache_dir, &entries, &report).await;
    for (name, error) in &failed {
        eprintln!("error: {name}: {error}");
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
