//! The three verdicts of `ucr certs check` on a server: libcurl's, which decides,
//! OpenSSL's over the captured chain, which explains, and rustls's, which warns.

use serde_json::Value;
use test_support::FakeRegistry;

use crate::env::Home;
use crate::made::{self, Made};
use crate::output::Output;

/// What `ucr certs check` reports of one server.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) report: Value,
}

/// Checks a server that presents `chain` when nothing but `trusted` is trusted.
#[track_caller]
pub(crate) fn verdict(home: &Home, chain: &[&Made], trusted: &[&Made]) -> Verdict {
    let server = made::presenting(chain);
    verdict_on(home, &server, &made::pem(trusted))
}

/// Checks a server when nothing but the CAfile of this text is trusted.
#[track_caller]
pub(crate) fn verdict_on(home: &Home, server: &FakeRegistry, cafile: &str) -> Verdict {
    home.write("trusted.pem", cafile);
    verdict_at(home, &server.host(), "trusted.pem")
}

/// Checks a host when nothing but a CAfile is trusted.
#[track_caller]
pub(crate) fn verdict_at(home: &Home, host: &str, cafile: &str) -> Verdict {
    let arguments = [
        "certs", "check", "--format", "json", "--cafile", cafile, host,
    ];
    Verdict::of(home.ucr(&arguments))
}

impl Verdict {
    #[track_caller]
    pub(crate) fn of(output: Output) -> Self {
        let reports: Result<Vec<Value>, _> = serde_json::from_str(&output.stdout);
        let mut reports = reports.unwrap_or_else(|_| panic!("no report: {output:#?}"));
        assert_eq!(reports.len(), 1, "{output:#?}");
        let report = reports.remove(0);
        assert_eq!(report["ok"], output.code == 0, "{report:#}");
        Self { report }
    }

    /// libcurl accepted the server, and so does OpenSSL.
    #[track_caller]
    pub(crate) fn accepted(self) -> Self {
        let report = &self.report;
        assert_eq!(report["ok"], true, "{report:#}");
        assert_eq!(report["diagnosis"], Value::Null, "{report:#}");
        assert_ne!(report["anchor"], Value::Null, "{report:#}");
        self
    }

    /// The subject of the trusted certificate that the chain leads to.
    pub(crate) fn anchor(&self) -> &str {
        self.report["anchor"]["subject"].as_str().unwrap()
    }

    /// libcurl refused the server for its certificate, and OpenSSL says why: `code`.
    #[track_caller]
    pub(crate) fn refused(self, code: &str) -> Self {
        let report = &self.report;
        let error = report["error"].as_str().unwrap_or_default();
        assert!(error.contains("is not trusted"), "{report:#}");
        assert_eq!(report["diagnosis"]["code"], code, "{report:#}");
        assert_eq!(report["anchor"], Value::Null, "{report:#}");
        self
    }

    /// The reason has all of `texts` in it.
    #[track_caller]
    pub(crate) fn because(self, texts: &[&str]) -> Self {
        let reason = self.report["diagnosis"]["text"]
            .as_str()
            .unwrap_or_default();
        for text in texts {
            assert!(reason.contains(text), "no {text:?} in {:#}", self.report);
        }
        self
    }

    /// rustls has nothing against the server.
    #[track_caller]
    pub(crate) fn rustls_agrees(self) {
        assert_eq!(
            self.report["strictObjection"],
            Value::Null,
            "{:#}",
            self.report
        );
    }

    /// rustls objects to the server.
    #[track_caller]
    pub(crate) fn rustls_objects(self, text: &str) {
        let objection = self.report["strictObjection"].as_str().unwrap_or_default();
        assert!(objection.contains(text), "no {text:?} in {:#}", self.report);
    }
}
