//! Three lines that send something to the demo, from three programs, each as good as printed.

use std::path::Path;

use super::devices::Devices;
use crate::cli::quoted;

/// `mosquitto_pub`, `curl`, and this program.
pub(crate) fn lines(devices: &Devices, program: &Path) -> [String; 3] {
    let file = |directory: &Path, name: &str| quoted(&directory.join(name).to_string_lossy()).into_owned();
    let yours = &devices.yours;
    let (id, endpoints) = (&yours.bundle.device_id, &yours.bundle.endpoints);
    let mosquitto = format!(
        "mosquitto_pub -h {} -p {} --cafile {} --cert {} --key {} -i {id} -q 1 -t device/{id}/telemetry \
         -m '{{\"weight\":12.5,\"weight_unit\":\"kg\"}}'",
        endpoints.mqtt_host,
        endpoints.mqtt_mtls_port,
        file(&yours.directory, "ca-chain.pem"),
        file(&yours.directory, "client_cert.pem"),
        file(&yours.directory, "client_key.pem"),
    );
    // The path stands in double quotes and a substitution: what is quoted for a shell is right in both.
    let agent = &devices.agent;
    let curl = format!(
        "curl -sSf --noproxy '*' --cacert {} -H \"X-API-KEY: $(cat {})\" -d '{{\"door_open\":true}}' \
         {}/api/v1/telemetry",
        file(&agent.directory, "ca-chain.pem"),
        file(&agent.directory, "api_key.txt"),
        agent.bundle.endpoints.api_base_url,
    );
    let publish = format!(
        "{} publish --certs-dir {}",
        quoted(&program.to_string_lossy()),
        quoted(&yours.directory.to_string_lossy())
    );
    [mosquitto, curl, publish]
}
