// Package sides runs one program on plain Badger and on this layer, to compare what they answer.
// Side and the interfaces that it leads to are what both have; Of makes a Side of a database of
// either, which it knows by its methods alone. So tests inside of package badgerspill use it, too.
package sides
