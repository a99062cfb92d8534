use super::remote::{Found, Remote};
use super::*;

fn mistakes(text: &str) -> Vec<String> {
    Config::parse(text).unwrap_err().0
}

const OWNER: &str = r#"
interval_seconds = 30
[[sensor]]
read = "simulator"
profile = "environment"
[[sensor]]
read = "program"
type = "power"
path = "/usr/local/bin/read-meter"
"#;

fn owner() -> Config {
    Config::parse(OWNER).unwrap()
}

fn names(config: &Config) -> Vec<(&str, Duration)> {
    config.sensors.iter().map(|sensor| (&*sensor.plan.name, sensor.plan.interval)).collect()
}

#[test]
fn the_example_is_good_and_so_is_everything_that_is_commented_out_in_it() {
    let config = Config::parse(EXAMPLE).unwrap();
    assert_eq!(names(&config), [("host", Duration::from_secs(60))]);
    assert_eq!(config.commands, CommandsSettings::default());
    // A line of settings that is commented out begins with "# " and a word, an equals sign or a bracket.
    let is_setting = |line: &str| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(name, _)| !name.trim().contains(' '))
    };
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    let whole: String = EXAMPLE.lines().map(uncomment).collect();
    let (whole, named) = (whole.replace("\"boiler\"]\n", "]\n"), whole);
    assert_eq!(Config::parse(&named).unwrap().sensors.len(), 8, "one is disabled");
    let config = Config::parse(&whole).unwrap_or_else(|mistakes| panic!("{mistakes}\n{whole}"));
    let all = ["host", "room", "boiler", "thermal", "door", "greenhouse", "meter", "power", "environment"];
    assert_eq!(names(&config).iter().map(|(name, _)| *name).collect::<Vec<_>>(), all);
    assert_eq!(config.sensors[1].plan.bounds[0].high, 85.0);
    assert_eq!(config.root, Path::new("/host"));
    assert_eq!(config.connection.port, Some(8883));
    assert_eq!(config.commands.programs[0].parameters["level"], Parameter::Integer((0, 100)));
    assert_eq!(config.commands.rollback, Duration::from_secs(120));
    let device = DeviceId::new("pi-1").unwrap();
    assert_eq!(config.sampler(&device).unwrap().len(), 9);
}

#[test]
fn every_mistake_is_listed_with_its_place() {
    let text = r#"
colour = "blue"
interval_seconds = 0
[[sensor]]
read = "telepathy"
[[sensor]]
read = "iio"
chanels = ["temp"]
[[sensor]]
read = "gpio"
line = 3
range = { state = [1, 0] }
type = "a/+/b"
[[sensor]]
read = "program"
path = "read-meter"
timeout_seconds = 0
[[sensor]]
read = "host"
[[sensor]]
read = "host"
[commands]
allow = ["ping", "format-disk"]
[[command]]
name = "ping"
path = "lamp"
arguments = ["{level}"]
"#;
    let found = mistakes(text);
    let expected = [
        "interval_seconds: expected a number of seconds",
        "[[sensor]] number 1: read: unknown variant `telepathy`",
        "[[sensor]] number 2: read: unknown field `chanels`",
        "[[sensor]] number 3: range of state: the first number is the lower one",
        "[[sensor]] number 3: a gpio line is chip and line, or exported alone",
        "[[sensor]] number 3: type: byte 2 is a wildcard",
        "[[sensor]] number 4: path: a program is named by an absolute path",
        "[[sensor]] number 4: timeout_seconds: expected",
        "[[sensor]] number 6: another sensor is called host too",
        "[commands] allow: \"format-disk\" is no command of the agent",
        "[[command]] number 1: name: ping is built in",
        "[[command]] number 1: path: a program",
        "[[command]] number 1: arguments: {level} is none of the parameters",
        "colour is no setting",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found:?} is not {expected:?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(mistakes("[[sensor]").len() == 1 && mistakes("sensor = 3").len() == 1);
}

#[test]
fn a_change_of_the_platform_is_on_trial_before_it_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let (mut remote, found) = Remote::open(folder.path()).unwrap();
    assert_eq!(found, Found::Order);
    let change = |text: &str| text.parse::<Table>().unwrap();
    let config = remote.begin_trial(&owner(), &change("interval_seconds = 5\nconnection = { port = 1 }")).unwrap();
    assert_eq!((config.sensors[0].plan.interval, config.connection.port), (Duration::from_secs(5), Some(1)));
    remote.roll_back().unwrap();
    assert_eq!(remote.over(&owner()).0, owner());

    remote.begin_trial(&owner(), &change("interval_seconds = 6")).unwrap();
    remote.promote().unwrap();
    assert_eq!(remote.over(&owner()).0.sensors[0].plan.interval, Duration::from_secs(6));
    remote.keep_interval("environment", 2.5).unwrap();

    // The program ends in the middle of a trial and starts again.
    remote.begin_trial(&owner(), &change("interval_seconds = 7")).unwrap();
    let (remote, found) = Remote::open(folder.path()).unwrap();
    assert_eq!(found, Found::InterruptedTrial);
    let expected = [("environment", Duration::from_millis(2500)), ("power", Duration::from_secs(6))];
    assert_eq!(names(&remote.over(&owner()).0), expected);

    fs::write(folder.path().join("remote.toml"), "[[[").unwrap();
    let (remote, found) = Remote::open(folder.path()).unwrap();
    assert_eq!((found, remote.over(&owner()).0), (Found::Damaged, owner()));
}

#[test]
fn the_platform_cannot_choose_what_runs_on_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let (remote, _) = Remote::open(folder.path()).unwrap();
    let begin = |text: &str| remote.begin_trial(&owner(), &text.parse().unwrap());
    for refused in [
        "root = \"/tmp\"",
        "[[command]]\nname = \"x\"\npath = \"/bin/sh\"",
        "[commands]\nallow = [\"set-config\"]",
        "[[sensor]]\nread = \"program\"\npath = \"/bin/sh\"",
        "[[sensor]]\nread = \"program\"\npath = \"/usr/local/bin/read-meter\"\narguments = [\"x\"]",
        "[[sensor]]\nread = \"serial\"\npath = \"/etc/passwd\"",
        "[[sensor]]\nread = \"serial\"\npath = \"/dev/../etc/passwd\"",
        "sensor = []",
    ] {
        assert!(matches!(begin(refused), Err(ConfigError::Mistakes { .. })), "{refused}");
        assert!(!folder.path().join("remote.toml.trial").exists());
    }
    begin("[[sensor]]\nread = \"program\"\ntype = \"watts\"\npath = \"/usr/local/bin/read-meter\"").unwrap();
    begin("[[sensor]]\nread = \"serial\"\npath = \"/dev/ttyUSB0\"").unwrap();
}
