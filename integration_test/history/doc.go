// Package history records what concurrent clients see of a database that is pushed to and fro,
// closed and killed, and has two checkers judge it. It is a module of its own for the sake of one
// of them, Porcupine, which finds out whether every key behaves as one register.
package history
