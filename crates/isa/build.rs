//! Lets the program find libduckdb when it runs: where it was built, or beside it in an image.

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    // Cargo's environment, not the configuration's: a build script has no other way to learn of it.
    #[allow(clippy::disallowed_methods)]
    if let Some(folder) = std::env::var("DUCKDB_LIB_DIR")
        .ok()
        .and_then(|dir| std::fs::canonicalize(dir).ok())
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
