"""A device in Python, as found in the field, told what to do by a test.

It runs unchanged on paho-mqtt 1.6 and 2.x. Every event is one JSON line on stdout:

  connack    code, reason, refused   code is 2.x's MQTT 5 reason even for 3.1.1; refused is true or false
  suback     codes
  published  mid, seq                seq counts from 1; absent for a message asked for on stdin
  puback     mid, code               code only where Paho tells it (2.x)
  done                               all of --count are acknowledged
  command    topic, payload, qos, retain
  disconnect code
  error      reason                  it could not connect at all; exit code 2

stdin: the line `stop`, or its end, disconnects and exits (0 when every message was
acknowledged, else 1); a line {"topic":…, "payload":…} publishes that at QoS 1.
"""

import argparse
import datetime
import json
import sys
import threading

import paho.mqtt.client as mqtt

arguments = argparse.ArgumentParser()
for name in ("host", "client-id"):
    arguments.add_argument("--" + name, required=True)
for name in ("ca", "username", "password", "certificate", "key"):
    arguments.add_argument("--" + name)
arguments.add_argument("--port", type=int, required=True)
arguments.add_argument("--transport", choices=("tcp", "websockets"), default="tcp")
arguments.add_argument("--protocol", choices=("3.1.1", "5"), default="3.1.1")
arguments.add_argument("--count", type=int, default=0)
arguments.add_argument("--interval", type=float, default=0.0)
arguments = arguments.parse_args()

stopping = threading.Event()
subscribed = threading.Event()
printing = threading.Lock()
published = 0  # counted by one thread at a time: see publishing
acknowledged = 0  # counted by Paho's thread only
publishing = threading.Lock()  # never held inside a callback: Paho holds locks of its own there


def emit(event, **fields):
    with printing:
        print(json.dumps({"event": event, **fields}), flush=True)


def number(code):
    """A reason code as a number: an int in 1.6, an object in 2.x."""
    return getattr(code, "value", code)


def on_connect(client, userdata, flags, code, properties=None):
    value = number(code)
    emit("connack", code=value, reason=str(code), refused=value != 0)
    if value == 0:
        client.subscribe("device/%s/commands/#" % arguments.client_id, qos=1)


def on_subscribe(client, userdata, mid, codes, properties=None):
    emit("suback", codes=[number(code) for code in codes])
    subscribed.set()


def on_publish(client, userdata, mid, code=None, properties=None):
    global acknowledged
    acknowledged += 1
    fields = {} if code is None else {"code": number(code)}
    emit("puback", mid=mid, **fields)
    if acknowledged == arguments.count:
        emit("done")


def on_message(client, userdata, message):
    payload = message.payload.decode("utf-8", "replace")
    emit("command", topic=message.topic, payload=payload, qos=message.qos, retain=bool(message.retain))


def on_disconnect(client, userdata, *rest):
    # 1.6: code[, properties]; 2.x: flags, code, properties.
    code = rest[1] if len(rest) == 3 else rest[0]
    emit("disconnect", code=number(code))


def publish(topic, payload, **fields):
    global published
    with publishing:
        information = client.publish(topic, payload, qos=1)
        published += 1
    emit("published", mid=information.mid, **fields)


def publish_samples():
    subscribed.wait()
    for sequence in range(1, arguments.count + 1):
        if stopping.is_set():
            return
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        sample = {
            "device_id": arguments.client_id,
            "timestamp": now,
            "data": {"temperature": 36.5 + sequence % 10 / 10, "temperature_unit": "°C", "sample": sequence},
        }
        publish("device/%s/telemetry/python" % arguments.client_id, json.dumps(sample), seq=sequence)
        stopping.wait(arguments.interval)


protocol = mqtt.MQTTv5 if arguments.protocol == "5" else mqtt.MQTTv311
options = {"client_id": arguments.client_id, "protocol": protocol, "transport": arguments.transport}
if hasattr(mqtt, "CallbackAPIVersion"):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **options)
else:
    client = mqtt.Client(**options)
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_publish = on_publish
client.on_message = on_message
client.on_disconnect = on_disconnect
client.reconnect_delay_set(min_delay=1, max_delay=2)
if arguments.username is not None:
    client.username_pw_set(arguments.username, arguments.password)

try:
    if arguments.ca is not None:
        client.tls_set(ca_certs=arguments.ca, certfile=arguments.certificate, keyfile=arguments.key)
    client.connect(arguments.host, arguments.port, keepalive=30)
except (OSError, ValueError) as error:
    emit("error", reason=str(error))
    sys.exit(2)
client.loop_start()
threading.Thread(target=publish_samples, daemon=True).start()

for line in sys.stdin:
    if line.strip() == "stop":
        break
    wish = json.loads(line)
    publish(wish["topic"], wish["payload"])
stopping.set()
client.disconnect()
client.loop_stop()
with publishing:
    sys.exit(0 if published == acknowledged else 1)
