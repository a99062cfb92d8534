//! The revocation list, as `openssl` and `mosquitto` take it.

use std::fs;
use std::path::Path;
use std::process::Command;

use tesaiot_store::registry::AuthMode;

use crate::support::PATIENCE;
use crate::support::platform::TestPlatform;
use crate::support::process::{Outcome, run};

fn openssl(directory: &Path, words: &str) -> Outcome {
    run(Command::new("openssl").current_dir(directory).args(words.split(' ')), PATIENCE)
}

#[test]
fn whoever_verifies_by_the_list_refuses_what_was_taken_back() {
    let platform = TestPlatform::start();
    let devices = ["pump-7", "pump-8"].map(|id| platform.device(id, AuthMode::Mtls));
    platform.operator().post("/devices/pump-7/certificate/revoke", b"").expect(200);
    let folder = platform.scratch("list");
    // Asked for by nobody in particular.
    let list = platform.anonymous().get("/ca/crl.pem");
    assert_eq!((list.status, list.content_type.as_str()), (200, "application/x-pem-file"));
    fs::write(folder.join("list.pem"), &list.text).expect("a file");
    fs::write(folder.join("root.pem"), platform.anonymous().get("/ca/root").text).expect("a file");
    fs::write(folder.join("intermediate.pem"), platform.anonymous().get("/ca/intermediate").text).expect("a file");
    let said = openssl(&folder, "crl -in list.pem -noout -text -CAfile intermediate.pem").expect_success();
    assert!(said.stderr.contains("verify OK"), "{said:#?}");
    assert!(said.stdout.contains("Next Update") && said.stdout.contains("CRL Number"), "{said:#?}");
    for (device, is_good) in devices.iter().zip([false, true]) {
        fs::copy(device.file("client_cert.pem"), folder.join("leaf.pem")).expect("a copy");
        let words = "verify -purpose sslclient -crl_check -CRLfile list.pem -CAfile root.pem -untrusted intermediate.pem leaf.pem";
        let judged = openssl(&folder, words);
        assert_eq!(judged.code == Some(0), is_good, "{judged:#?}");
        assert_eq!(judged.stderr.contains("certificate revoked"), !is_good, "{judged:#?}");
    }
    // The binary form is the same list.
    let mut curl = Command::new("curl");
    let url = format!("https://localhost:{}/api/v1/ca/crl", platform.https().port());
    curl.args(["--silent", "--fail", "--output", "list.der", &url, "--cacert"]).arg(platform.trust_chain());
    run(curl.current_dir(&folder), PATIENCE).expect_success();
    let der = openssl(&folder, "crl -inform DER -in list.der -noout -text").expect_success().stdout;
    assert!(der.contains("Serial Number"), "{der}");
}
