//! Kept seeds: each has found a bug once. A line is a seed or the path of a plan, beside the file; then, if they are not
//! the usual ones, profile and network or engine; then why it is kept: `4711 storm turmoil # a late grant was believed`.

use std::{fs, path::Path};

use streamkeeper_sim::{plan::Profile, world::Net};

use super::campaign::{Job, Source};

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Vec<Job>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&text, path.parent().unwrap_or(Path::new("")))
        .map_err(|(line, error)| format!("{}, line {line}: {error}", path.display()))
}

fn parse(text: &str, folder: &Path) -> Result<Vec<Job>, (usize, String)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default()));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| job(line, folder).map_err(|error| (number, error))).collect()
}

fn job(line: &str, folder: &Path) -> Result<Job, String> {
    let (mut profile, mut net) = (Profile::default(), Net::default());
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    for word in words {
        match (word.parse(), word.parse()) {
            (Ok(found), _) => profile = found,
            (_, Ok(found)) => net = found,
            _ => return Err(format!("`{word}` is neither a profile nor a network or engine")),
        }
    }
    let source = match first.parse() {
        Ok(seed) => Source::Seed(seed, profile),
        Err(_) => source(&folder.join(first))?,
    };
    let job = Job { source, net };
    job.check()?;
    Ok(job)
}

/// A plan that stands in a file.
pub(crate) fn source(path: &Path) -> Result<Source, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let plan = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Source::Text(path.to_owned(), Box::new(plan)))
}

#[cfg(test)]
mod tests {
    use streamkeeper_sim::plan::Plan;

    use super::*;

    #[test]
    fn the_kept_seeds_of_the_repository_can_be_read() {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds.txt")).unwrap();
    }

    #[test]
    fn a_line_is_a_seed_or_a_plan() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::draw(5, Profile::Calm);
        fs::write(folder.path().join("five.plan.txt"), plan.to_string()).unwrap();
        let jobs =
            parse("# kept\n\n17 # why\n18 storm turmoil\nfive.plan.txt turmoil # a plan\n", folder.path()).unwrap();
        let expected = [
            (Source::Seed(17, Profile::Swarm), Net::Events),
            (Source::Seed(18, Profile::Storm), Net::Turmoil),
            (Source::Text(folder.path().join("five.plan.txt"), Box::new(plan)), Net::Turmoil),
        ];
        assert_eq!(jobs, expected.map(|(source, net)| Job { source, net }));
        assert_eq!(jobs[2].name(), "five");
        assert_eq!(parse("17\n18 loud", folder.path()).unwrap_err().0, 2);
        assert!(parse("none.plan.txt", folder.path()).unwrap_err().1.contains("none.plan.txt"));
    }
}
