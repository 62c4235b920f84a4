//! Tells the linker what `ucr_sys_curl::begin` needs.

fn main() {
    for function in ["curl_global_init", "OPENSSL_init_ssl"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={function}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
