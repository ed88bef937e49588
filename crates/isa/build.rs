//! Lets the program find libduckdb when it runs: where it was built, or beside it in an image. And packs its relocations.

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    // The dynamic linker reads them all at the start, and they stay resident: as a list 4.5 MB, packed a tenth of one.
    // It takes glibc 2.36, which is that of Debian 12.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Cargo's environment, not the configuration's: a build script has no other way to learn of it.
    #[allow(clippy::disallowed_methods)]
    if let Some(folder) = std::env::var("DUCKDB_LIB_DIR")
        .ok()
        .and_then(|dir| std::fs::canonicalize(dir).ok())
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
