use super::*;
use crate::testing::Workshop;

fn converted(workshop: &Workshop, name: &str, encoding: Encoding) -> Converted {
    convert(&workshop.input(name), encoding).unwrap()
}

#[test]
fn both_directions_give_the_bytes_that_openssl_gives() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("x509 -in ca.pem -outform DER -out ca.der");
    workshop.openssl("x509 -in ca.der -inform DER -text -out text.pem");
    workshop.openssl("x509 -in ca.der -inform DER -outform PEM -out openssl.pem");
    workshop.openssl("x509 -in text.pem -outform DER -out openssl.der");
    let crlf = String::from_utf8(workshop.read("ca.pem")).unwrap();
    workshop.write("crlf.pem", crlf.replace('\n', "\r\n"));
    for name in ["ca.pem", "ca.der", "text.pem", "crlf.pem"] {
        let pem = converted(&workshop, name, Encoding::Pem);
        assert_eq!(pem.bytes, workshop.read("openssl.pem"), "{name}");
        let der = converted(&workshop, name, Encoding::Der);
        assert_eq!(der.bytes, workshop.read("openssl.der"), "{name}");
        assert_eq!((der.certificates, der.private_keys), (1, 0));
    }
}

#[test]
fn certificates_of_every_length_are_wrapped_as_openssl_wraps_them() {
    let workshop = Workshop::new();
    for length in 1..=6 {
        let name = "n".repeat(length);
        workshop.ca(&name);
        let pem = format!("{name}.pem");
        workshop.openssl(&format!("x509 -in {pem} -outform DER -out der"));
        let bytes = converted(&workshop, "der", Encoding::Pem).bytes;
        assert_eq!(bytes, workshop.read(&pem), "{length}");
    }
}

#[test]
fn several_keep_their_order_and_do_not_fit_in_der() {
    let workshop = Workshop::new();
    let [one, two, three] = ["one", "two", "three"].map(|name| {
        workshop.ca(name);
        workshop.read(&format!("{name}.pem"))
    });
    let all = [two, three, one].concat();
    workshop.write("all.pem", &all);
    assert_eq!(converted(&workshop, "all.pem", Encoding::Pem).bytes, all);
    let error = convert(&workshop.input("all.pem"), Encoding::Der).unwrap_err();
    let path = workshop.path("all.pem");
    let expected = format!("DER holds one certificate, {} holds 3", path.display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn p18_a_rejected_certificate_is_converted_as_openssl_does_and_stays_behind_the_others() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.ca("other");
    workshop.openssl("x509 -in ca.pem -trustout -addreject serverAuth -out rejected.pem");
    let rejected = converted(&workshop, "rejected.pem", Encoding::Pem);
    assert_eq!(rejected.bytes, workshop.read("ca.pem"));
    workshop.openssl("x509 -in rejected.pem -outform DER -out openssl.der");
    let der = converted(&workshop, "rejected.pem", Encoding::Der);
    assert_eq!(der.bytes, workshop.read("openssl.der"));

    let [ca, other] = ["ca.pem", "other.pem"].map(|name| workshop.read(name));
    let both = [workshop.read("rejected.pem"), other.clone()].concat();
    workshop.write("both.pem", both);
    let both = converted(&workshop, "both.pem", Encoding::Pem);
    assert_eq!((both.bytes, both.certificates), ([other, ca].concat(), 2));
}

#[test]
fn a_private_key_is_left_out_and_alone_it_is_refused() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let (certificate, key) = (workshop.read("ca.pem"), workshop.read("ca.key"));
    workshop.write("both.pem", [key.as_slice(), &certificate].concat());
    workshop.openssl("pkey -in ca.key -outform DER -out key.der");
    let both = converted(&workshop, "both.pem", Encoding::Pem);
    assert_eq!((both.bytes, both.private_keys), (certificate, 1));
    for name in ["ca.key", "key.der"] {
        let error = convert(&workshop.input(name), Encoding::Pem).unwrap_err();
        let refused = ConvertError::Input(Error::PrivateKey {
            file: workshop.path(name).display().to_string(),
        });
        assert_eq!(error.to_string(), refused.to_string());
    }
}
