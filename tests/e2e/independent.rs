//! Images that other programs pushed: `oci-client`, podman and skopeo.

use std::process::Command;

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, Config, ImageLayer};
use oci_client::manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, IMAGE_LAYER_MEDIA_TYPE, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use test_support::{Compression, Image, ImageBuilder, RealRegistry, busybox_layer, sha256_digest};

use crate::env::{APP, TestEnv};
use crate::images::layer;
use crate::output::Output;

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Pushes the layers of `image` with `oci-client`, which writes a manifest of its own.
fn push_with_oci_client(env: &TestEnv, image: &Image) {
    // Another may be there already, installed by another test of this process.
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = ClientConfig {
        tls_certs_only: vec![Certificate {
            encoding: CertificateEncoding::Der,
            data: env.ca.der(),
        }],
        ..ClientConfig::default()
    };
    let client = Client::new(config);
    let reference: Reference = env.reference(APP).parse().unwrap();
    let user = RealRegistry::USER.to_owned();
    let auth = RegistryAuth::Basic(user, RealRegistry::PASSWORD.to_owned());
    let layers: Vec<ImageLayer> = image
        .layers
        .iter()
        .map(|blob| {
            let media_type = match blob.compression {
                Compression::Plain => IMAGE_LAYER_MEDIA_TYPE,
                Compression::Zstd => ZSTD,
                _ => IMAGE_LAYER_GZIP_MEDIA_TYPE,
            };
            ImageLayer::new(blob.bytes.clone(), media_type.to_owned(), None)
        })
        .collect();
    let config = Config::oci_v1(image.config.bytes.clone(), None);
    let manifest = OciImageManifest::build(&layers, &config, None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let push = client.push(&reference, &layers, config, &auth, Some(manifest));
    runtime.block_on(push).unwrap();
}

#[test]
fn an_image_pushed_by_oci_client_runs_whatever_its_compression() {
    needs_machine!();
    let env = TestEnv::new();
    let image = ImageBuilder::new()
        .layer_as(busybox_layer(), Compression::GzipMembers(4))
        .layer_as(layer("zstd", "by zstd\n"), Compression::Zstd)
        .layer_as(layer("plain", "as it is\n"), Compression::Plain)
        .layer_as(layer("gzip", "by gzip\n"), Compression::Gzip)
        .cmd(&["cat", "/zstd", "/plain", "/gzip"])
        .build();
    push_with_oci_client(&env, &image);
    let pulled = env.pull(APP).ok();
    assert_eq!(pulled.stdout.trim_end(), sha256_digest(&image.config.bytes));
    let output = env.run(&[], &[]).ok();
    assert_eq!(output.stdout, "by zstd\nas it is\nby gzip\n");
}

/// The directory that podman and skopeo find the CA in.
fn cert_dir(env: &TestEnv) -> String {
    env.make_dir("certs.d");
    env.write("certs.d/ca.crt", env.ca.pem());
    env.shown("certs.d")
}

fn credential() -> String {
    format!("{}:{}", RealRegistry::USER, RealRegistry::PASSWORD)
}

/// Lets a program that keeps things in a home directory keep them in the environment.
fn at_home<'a>(env: &TestEnv, command: &'a mut Command) -> &'a mut Command {
    command
        .env("HOME", env.path(""))
        .env("TMPDIR", env.path(""))
}

#[test]
fn an_image_made_and_pushed_by_podman_runs() {
    needs_machine!();
    test_support::need_command!("podman");
    let env = TestEnv::new();
    env.write("rootfs.tar", busybox_layer().bytes);
    let certs = cert_dir(&env);
    let [storage, run] = ["podman", "podman-run"].map(|name| env.shown(name));
    let podman = |arguments: &[&str]| {
        let mut podman = env.tool("podman");
        podman.args([
            "--root",
            &storage,
            "--runroot",
            &run,
            "--storage-driver",
            "vfs",
        ]);
        Output::of(at_home(&env, podman.args(arguments))).ok()
    };
    let change = ["-c", r#"CMD ["echo", "made by podman"]"#, "-c", "ENV A=b"];
    podman(
        &[
            &["import"],
            change.as_slice(),
            &["rootfs.tar", "localhost/app:1"],
        ]
        .concat(),
    );
    let image = env.reference(APP);
    let access = ["--creds", &credential(), "--cert-dir", &certs];
    for format in ["oci", "v2s2"] {
        let push = [
            &["push"],
            access.as_slice(),
            &["--format", format, "localhost/app:1", &image],
        ];
        podman(&push.concat());
        env.pull(APP).ok();
        assert_eq!(
            env.run(&[], &[]).ok().stdout,
            "made by podman\n",
            "{format}"
        );
    }
}

#[test]
fn an_image_copied_by_skopeo_runs_in_either_format() {
    needs_machine!();
    test_support::need_command!("skopeo");
    let env = TestEnv::new();
    let image = ImageBuilder::new()
        .layer(busybox_layer())
        .cmd(&["echo", "copied by skopeo"])
        .build();
    env.push(&image, "team/source:1");
    let certs = cert_dir(&env);
    let credential = credential();
    let source = format!("docker://{}", env.reference("team/source:1"));
    let target = format!("docker://{}", env.reference(APP));
    let formats = [
        ["--format", "oci", "--dest-compress-format", "zstd"],
        ["--format", "v2s2", "--dest-compress-format", "gzip"],
    ];
    for format in formats {
        let mut skopeo = env.tool("skopeo");
        skopeo
            .args(["copy", "--insecure-policy", "--src-creds", &credential])
            .args(["--dest-creds", &credential])
            .args(["--src-cert-dir", &certs, "--dest-cert-dir", &certs])
            .args(format)
            .args([&source, &target]);
        Output::of(at_home(&env, &mut skopeo)).ok();
        env.pull(APP).ok();
        assert_eq!(env.run(&[], &[]).ok().stdout, "copied by skopeo\n");
    }
}
