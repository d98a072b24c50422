//! Tells the compiler whether the panel was built, and compiles the program anew when it is built anew: what is in `web/dist` is
//! embedded into it.

#![allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A path that is missing would have cargo compile the program each time.
    let watched = if Path::new("../web/dist").exists() { "../web/dist" } else { "../web" };
    println!("cargo::rerun-if-changed={watched}");
    println!("cargo::rustc-check-cfg=cfg(lanyard_panel)");
    if Path::new("../web/dist/index.html").exists() {
        println!("cargo::rustc-cfg=lanyard_panel");
    }
}
