//! Lets this crate's own test binaries find libduckdb when they run: linking alone records no path to it.

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    // Cargo's environment, not the configuration's: a build script has no other way to learn of it.
    #[allow(clippy::disallowed_methods)]
    if let Ok(folder) = std::env::var("DUCKDB_LIB_DIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
