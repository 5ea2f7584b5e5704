//! Tells the library's sources that a model checker compiles them, and which; and compiles what they need of C.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../src/sys/annotate.c");
    cc::Build::new().file("../../src/sys/annotate.c").std("c11").compile("threading_annotate");
    println!("cargo:rustc-cfg=model");
    for engine in ["loom", "shuttle"] {
        if std::env::var_os(format!("CARGO_FEATURE_{}", engine.to_uppercase())).is_some() {
            println!("cargo:rustc-cfg=model=\"{engine}\"");
        }
    }
}
