//! Seeds of what registries and people write, mutated by chance; the fuzz targets' quick brother.

use test_support::mutations::{check, check_chance, seeds};

use crate::{laws, layers};

/// What the beginnings of interesting inputs are made of.
const TOKENS: [&[u8]; 24] = [
    b"Bearer realm=\"https://",
    b"Basic ",
    b"\\\"",
    b", ",
    b"=\"",
    b"\x1b[2J",
    b"{\"auth\":\"",
    b"<token>",
    b"https://index.docker.io/v1/",
    b"\n[registry.\"",
    b"mirrors = [\"",
    b"[::1]:443",
    b"docker.io/",
    b"@sha256:",
    b":@1",
    b"oci:",
    b"docker-archive:-",
    b"../",
    b"\"layers\":[",
    b"\"manifests\":[",
    b"\"fsLayers\":",
    b"\"Layers\":",
    b"\"signatures\":",
    b"18446744073709551615",
];

/// What headers and extensions of archives are made of.
const TAR_TOKENS: [&[u8]; 16] = [
    b"ustar\x0000",
    b"ustar  \0",
    b"00000000000\0",
    b"00000001000\0",
    b"\x80\0\0\0\0\0\0\0\0\0\x02\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"../outside/file",
    b"/../../outside/dir",
    b"././@LongLink",
    b".wh..wh..opq",
    b".wh.",
    b"20 path=../outside\n",
    b"24 linkpath=../outside\n",
    b"15 size=999999\n",
    b"22 GNU.sparse.major=1\n",
    &[0; 512],
];

fn check_text(name: &str, law: impl Fn(&str)) {
    let law = |bytes: &[u8]| law(&String::from_utf8_lossy(bytes));
    check(law, &seeds(name), &TOKENS, 20_000);
}

#[test]
fn s72_mutated_challenges_lead_nowhere_inside() {
    check_text("challenge", laws::challenge);
}

#[test]
fn mutated_auth_files_are_refused_or_stay_what_they_are() {
    check(laws::auth_file, &seeds("auth_file"), &TOKENS, 20_000);
}

#[test]
fn mutated_configurations_are_refused_with_a_line_of_theirs() {
    check_text("configuration", laws::configuration);
}

#[test]
fn p73_mutated_names_are_refused_or_stay_what_they_are() {
    check_text("reference", laws::reference);
}

#[test]
fn s81_mutated_manifests_are_refused_or_read_as_others_read_them() {
    check(laws::manifest, &seeds("manifest"), &TOKENS, 20_000);
}

#[test]
fn layers_made_by_chance_become_what_the_model_says() {
    check_chance(layers::layers, 1024, 2_000);
}

#[test]
fn l101_mutated_layers_are_refused_or_stay_within_their_directory() {
    let seeds = seeds("layer_bytes");
    check(layers::layer_bytes, &seeds, &TAR_TOKENS, 2_000);
}
