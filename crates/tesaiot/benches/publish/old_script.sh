#!/usr/bin/env bash
# What `tesaiot publish` replaced, kept as a baseline: for each sample a Python that makes the payload, a Python that
# reads the endpoints, and a mosquitto_pub with a TLS handshake of its own. Arguments: bundle, count.
set -euo pipefail
bundle=$1
count=$2
device_id=$(tr -d '[:space:]' < "$bundle/device_id.txt")

payload() {
  python3 - "$device_id" <<'PYTHON'
import json, random, sys
from datetime import datetime, timezone

heart_rate = random.randint(65, 95)
print(json.dumps({
    "device_id": sys.argv[1],
    "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    "data": {
        "spo2": random.randint(94, 99), "spo2_unit": "%",
        "temperature": round(random.uniform(36.2, 37.5), 2), "temperature_unit": "°C",
        "heart_rate": heart_rate, "heart_rate_bpm": heart_rate,
        "perfusion_index": round(random.uniform(2.5, 6.5), 2),
        "motion": random.random() < 0.1,
        "signal_quality": random.randint(85, 100),
        "rhythm": random.choice(["sinus", "afib", "svt", "vt", "unknown"]),
        "rr_interval_ms": round(random.uniform(600, 950), 1),
        "qt_interval_ms": round(random.uniform(320, 420), 1),
        "site": random.choice(["temporal", "oral", "core"]),
    },
}))
PYTHON
}

endpoint() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$bundle/endpoints.json" "$1"
}

for ((sample = 0; sample < count; sample++)); do
  mosquitto_pub -h "$(endpoint mqtt_host)" -p "$(endpoint mqtt_mtls_port)" -i "$device_id" -q 1 \
    -t "device/$device_id/telemetry" -m "$(payload)" --tls-version tlsv1.2 \
    --cafile "$bundle/ca-chain.pem" --cert "$bundle/client_cert.pem" --key "$bundle/client_key.pem"
done
