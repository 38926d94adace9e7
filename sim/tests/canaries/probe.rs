//! What the copy of the sources runs: seeds, until one breaks a promise. `canary SEEDS PROFILE ENGINE [PLAN.txt]`, and the
//! answer is nothing, or the seed, the promise and how it was broken, with tabs between. `canary explore FAULTS WISHES` visits
//! every life of two consumers and a stream instead, and answers the states before it in place of the seed.

use streamkeeper_sim::{
    explore::{Bounds, explore},
    plan::{Plan, Profile},
    world::{Net, run},
};

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "explore").is_some() {
        let mut number = || arguments.next().and_then(|number| number.parse().ok()).expect("a number");
        return visit(number(), number());
    }
    let seeds: u64 = arguments.next().and_then(|seeds| seeds.parse().ok()).expect("how many seeds");
    let profile: Profile = arguments.next().and_then(|profile| profile.parse().ok()).expect("a profile");
    let net: Net = arguments.next().and_then(|net| net.parse().ok()).expect("an engine");
    let plan: Option<Plan> =
        arguments.next().map(|path| std::fs::read_to_string(path).expect("a plan").parse().expect("a plan"));
    std::panic::set_hook(Box::new(|_| {}));
    for seed in 0..seeds {
        let plan = match &plan {
            Some(plan) => Plan { seed, ..plan.clone() },
            None => Plan::draw(seed, profile),
        };
        let plan = if net == Net::Core { plan.fitted_to_core().expect("a plan that fits") } else { plan };
        let outcome = run(&plan, net);
        if let Some(first) = outcome.violations.first() {
            return println!("{seed}\t{}\t{first}", first.promise);
        }
        if let Some(panic) = outcome.panics.first() {
            return println!("{seed}\tpanic\t{panic}");
        }
    }
}

fn visit(faults: u8, wishes: u8) {
    std::panic::set_hook(Box::new(|_| {}));
    let explored = explore(&Bounds { faults, wishes, ..Bounds::new(2, 1) }, None, |_| {});
    if let Some(found) = explored.found {
        println!("{}\t{}\t{}", explored.states, found.broken.promise, found.broken.how);
    }
}
