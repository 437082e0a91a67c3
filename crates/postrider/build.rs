//! Notes the compiler's version, which the `build_info` metric shows.

use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer = Command::new(rustc).arg("--version").output().ok();
    let text = answer.and_then(|answer| String::from_utf8(answer.stdout).ok());
    let version = text.as_deref().and_then(|text| text.split_whitespace().nth(1));
    let mut out = std::io::stdout().lock();
    let line = format!("cargo::rustc-env=POSTRIDER_RUSTC={}\n", version.unwrap_or("unknown"));
    std::io::Write::write_all(&mut out, line.as_bytes()).expect("cargo reads the build script's output");
}
