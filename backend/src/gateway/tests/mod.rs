//! Scenario tests of the gateway client.
