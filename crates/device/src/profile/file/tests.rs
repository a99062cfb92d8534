use super::*;

fn read(text: &str) -> Result<Profile, ProfileError> {
    Profile::from_toml(text, Path::new("greenhouse.toml"))
}

#[test]
fn the_documented_profiles_are_the_built_in_ones() {
    for name in Profile::builtin_names() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/profiles/{name}.toml"));
        assert_eq!(Profile::from_file(path).unwrap(), Profile::builtin(name).unwrap());
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let profile = read("[[metric]]\nname = \"level\"\nrange = [-3, 7]").unwrap();
    assert_eq!(&*profile.name, "greenhouse", "the name of the file");
    let number = Number { decimals: 0, low: -3.0, high: 7.0, distribution: Distribution::Uniform };
    assert_eq!(profile.metrics[0].values, Values::Number(number));
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let mut told = String::new();
    for body in [
        "name = \"x\"",
        "name = \"\"\nrange = [0, 1]",
        "name = \"x\"\nrange = [1, 0]",
        "name = \"x\"\nrange = [0, inf]",
        "name = \"x\"\nrange = [0, nan]",
        "name = \"x\"\nrange = [0, 1e300]",
        "name = \"x\"\nrange = [0, 1]\ndecimals = 7",
        "name = \"x\"\nrange = [0, 1]\nchoices = [\"a\"]",
        "name = \"x\"\nchoices = []",
        "name = \"x\"\nchoices = [\"a\"]\ndecimals = 1",
        "name = \"x\"\ntrue_once_in = 0",
        "name = \"x\"\nsame_as = \"y\"",
        "name = \"x\"\nrange = [0, 1]\ndistribution = \"normal\"",
        "name = \"x\"\nrange = [0, 1]\ndistribution = \"normal\"\nmean = 2\ndeviation = 1",
        "name = \"x\"\nrange = [0, 1]\ndistribution = \"walk\"\nstart = 0.5",
        "name = \"x\"\nrange = [0, 1]\nstep = 1",
        "name = \"x\"\nrange = [0, 1]\ncolour = 1",
        "name = \"x\"\nrange = [0, 1]\n[[metric]]\nname = \"x\"\nrange = [0, 1]",
        "name = \"x\"\nunit = \"u\"\nrange = [0, 1]\n[[metric]]\nname = \"x_unit\"\nrange = [0, 1]",
    ] {
        let error = read(&format!("[[metric]]\n{body}")).expect_err(body);
        told += &format!("{body}\n  → {error}\n\n");
    }
    insta::assert_snapshot!(told);
    assert!(matches!(read("metric = []"), Err(ProfileError::NotAProfile { .. })));
    let many = "[[metric]]\nname = \"x\"\nrange = [0, 1]\n".repeat(MAX_METRICS + 1);
    assert!(matches!(read(&many), Err(ProfileError::NotAProfile { .. })));
    assert!(matches!(Profile::named("agricultural"), Err(ProfileError::Unknown { .. })));
    assert!(matches!(Profile::named("./no/such.toml"), Err(ProfileError::NotReadable { .. })));
}
