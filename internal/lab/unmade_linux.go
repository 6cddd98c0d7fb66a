package lab

// Unmade are the causes without a scenario, and why. One that gets a scenario
// must leave the list.
var Unmade = map[string]string{}
