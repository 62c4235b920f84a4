//! CAs that were renewed, signed across or limited, with the same three verdicts.

use rcgen::{BasicConstraints, CidrSubnet, GeneralSubtree, IsCa, NameConstraints};

use crate::env::Home;
use crate::made;
use crate::verdict::verdict;

#[test]
fn an_expired_cross_signature_of_a_trusted_root_is_passed_over() {
    let home = Home::new();
    let root = made::root("Root");
    let crossed = made::signed_across(&root, "Root", &made::root_but("Old", made::expired));
    let server = made::server(&root);
    let verdict = verdict(&home, &[&server, &crossed], &[&root]).accepted();
    assert_eq!(verdict.anchor(), "CN=Root");
    verdict.rustls_agrees();
}

#[test]
fn a_ca_made_anew_under_its_old_name_is_told_from_an_unknown_one() {
    let home = Home::new();
    let server = made::server(&made::root("Root"));
    verdict(&home, &[&server], &[&made::root("Root")])
        .refused("other-key")
        .because(&["not with the key of the known certificate"])
        .rustls_objects("a signature in its chain is wrong");
}

#[test]
fn a_ca_beyond_its_limits_is_refused_in_openssl_s_words() {
    let home = Home::new();
    let narrow = made::root_but("Root", |it| {
        let loopback = CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0]);
        it.name_constraints = Some(NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: vec![GeneralSubtree::IpAddress(loopback)],
        });
    });
    verdict(&home, &[&made::server(&narrow)], &[&narrow])
        .refused("other")
        .because(&["excluded subtree violation"])
        .rustls_objects("the CA may not vouch for this name");
    let short = made::root_but("Root", |it| {
        it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let middle = made::intermediate("Middle", &short);
    verdict(&home, &[&made::server(&middle), &middle], &[&short])
        .refused("other")
        .because(&["path length constraint exceeded"])
        .rustls_agrees();
}
