//! What the copy of the sources runs: seeds, until one breaks a promise. `canary SEEDS PROFILE [PLAN.txt]`, and the answer is
//! nothing, or the seed, the promise and how it was broken, with tabs between.

use streamkeeper_sim::{
    plan::{Plan, Profile},
    world::{Net, run},
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seeds: u64 = arguments.next().and_then(|seeds| seeds.parse().ok()).expect("how many seeds");
    let profile: Profile = arguments.next().and_then(|profile| profile.parse().ok()).expect("a profile");
    let plan: Option<Plan> =
        arguments.next().map(|path| std::fs::read_to_string(path).expect("a plan").parse().expect("a plan"));
    std::panic::set_hook(Box::new(|_| {}));
    for seed in 0..seeds {
        let plan = match &plan {
            Some(plan) => Plan { seed, ..plan.clone() },
            None => Plan::draw(seed, profile),
        };
        let outcome = run(&plan, Net::Events);
        if let Some(first) = outcome.violations.first() {
            return println!("{seed}\t{}\t{first}", first.promise);
        }
        if let Some(panic) = outcome.panics.first() {
            return println!("{seed}\tpanic\t{panic}");
        }
    }
}
