import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.Socket;

/** A JVM's sockets are IPv6 ones, and IPv4 addresses v4-mapped in them. Arguments: host, TCP port, UDP port. */
public class Client {
    public static void main(String[] arguments) throws Exception {
        String host = arguments[0];
        int tcpPort = Integer.parseInt(arguments[1]);
        int udpPort = Integer.parseInt(arguments[2]);
        try (Socket socket = new Socket(host, tcpPort)) {
            socket.getOutputStream().write("x\n".getBytes());
            var reader = new BufferedReader(new InputStreamReader(socket.getInputStream()));
            System.out.println(socket.getRemoteSocketAddress() + " " + reader.readLine());
        }
        try (DatagramSocket socket = new DatagramSocket()) {
            socket.setSoTimeout(5000);
            ask(socket, host, udpPort);
            socket.connect(InetAddress.getByName(host), udpPort);
            ask(socket, host, udpPort);
        }
    }

    private static void ask(DatagramSocket socket, String host, int port) throws Exception {
        socket.send(new DatagramPacket("x".getBytes(), 1, InetAddress.getByName(host), port));
        DatagramPacket answer = new DatagramPacket(new byte[4096], 4096);
        socket.receive(answer);
        System.out.println(answer.getSocketAddress() + " " + new String(answer.getData(), 0, answer.getLength()));
    }
}
