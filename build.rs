//! Tells the linker what `ucr_sys_curl::begin` needs.

fn main() {
    println!("cargo::rustc-link-arg-bins=-Wl,--wrap=curl_global_init");
    println!("cargo::rerun-if-changed=build.rs");
}
