//! How the binary is linked.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program runs, one name a line; `cargo xtask functions` writes it. A name that is no more is passed over.
const FUNCTIONS: &str = "functions.txt";

/// How the allocator is set.
const ALLOCATOR: &str = "allocator.c";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={FUNCTIONS}");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("ENV") != "msvc" {
        allocator();
    }
    if target("OS") != "linux" || target("ENV") != "gnu" {
        return;
    }
    // An executable at a fixed address needs no relocation: starting it touches 1 MB less of memory, and takes half the time.
    println!("cargo:rustc-link-arg-bins=-no-pie");
    unwinder();
    if let Some(list) = functions().filter(|_| target("ARCH") == "x86_64" && links_with_lld()) {
        println!(
            "cargo:rustc-link-arg-bins=-Wl,--symbol-ordering-file={},--no-warn-symbol-ordering",
            list.display()
        );
    }
}

/// The allocator's settings: it takes them from the environment or from C, and from nobody else.
fn allocator() {
    println!("cargo:rerun-if-changed={ALLOCATOR}");
    let Some(headers) = std::env::var_os("DEP_MIMALLOC_INCLUDE_DIR") else {
        return;
    };
    // Nobody calls what is in it, so that an object it must be and no library; the tests have another allocator.
    for object in cc::Build::new()
        .include(headers)
        .file(ALLOCATOR)
        .compile_intermediates()
    {
        println!("cargo:rustc-link-arg-bins={}", object.display());
    }
}

/// The compiler's unwinder is the only thing that the program would take from its shared library, which costs each start more than it
/// weighs: here its name stands for the static one that lies beside it.
fn unwinder() {
    let Some(folder) = std::env::var_os("OUT_DIR").filter(|_| has_static_unwinder()) else {
        return;
    };
    let folder = Path::new(&folder).join("unwinder");
    let script = "INPUT(-lgcc_eh -lgcc)";
    let written =
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("libgcc_s.so"), script));
    if written.is_ok() {
        println!("cargo:rustc-link-arg-bins=-L{}", folder.display());
    }
}

/// Whether the compiler brings one; its answer for a file that it has not is the bare name.
fn has_static_unwinder() -> bool {
    let Ok(compiler) = cc::Build::new().try_get_compiler() else {
        return false;
    };
    let asked = compiler.to_command().arg("-print-file-name=libgcc_eh.a").output();
    asked.is_ok_and(|asked| Path::new(String::from_utf8_lossy(&asked.stdout).trim()).is_absolute())
}

fn functions() -> Option<PathBuf> {
    let list = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).join(FUNCTIONS);
    list.exists().then_some(list)
}

/// Whether the compiler brings the linker that takes such a list, and nobody has chosen another.
fn links_with_lld() -> bool {
    let chosen = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if std::env::var_os("RUSTC_LINKER").is_some() || chosen.contains("link") {
        return false;
    }
    let (Some(compiler), Ok(host)) = (std::env::var_os("RUSTC"), std::env::var("HOST")) else {
        return false;
    };
    let Ok(printed) = Command::new(compiler).args(["--print", "sysroot"]).output() else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&printed.stdout);
    Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host)
        .join("bin/gcc-ld/ld.lld")
        .exists()
}
