// A Go program's clients: TCP, connected UDP, and a UDP socket of both families. Arguments: host, TCP port, UDP port.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"os"
	"time"
)

func main() {
	host, tcp, udp := os.Args[1], os.Args[2], os.Args[3]
	for _, kind := range [][2]string{{"tcp", tcp}, {"udp", udp}} {
		connection, err := net.DialTimeout(kind[0], net.JoinHostPort(host, kind[1]), 5*time.Second)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(connection, "x\n")
		answer, _ := bufio.NewReader(connection).ReadString('}')
		fmt.Println(connection.RemoteAddr(), answer)
		connection.Close()
	}
	// An address family is not chosen here, so that the socket is IPv6 and the address v4-mapped.
	socket, err := net.ListenPacket("udp", ":0")
	if err != nil {
		log.Fatal(err)
	}
	address, err := net.ResolveUDPAddr("udp", net.JoinHostPort(host, udp))
	if err != nil {
		log.Fatal(err)
	}
	socket.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := socket.WriteTo([]byte("x"), address); err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 4096)
	length, source, err := socket.ReadFrom(buffer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(source, string(buffer[:length]))
}
