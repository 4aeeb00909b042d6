import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketException;
import org.apache.activemq.command.Command;
import org.apache.activemq.command.ConnectionId;
import org.apache.activemq.command.ConnectionInfo;
import org.apache.activemq.command.Response;
import org.apache.activemq.command.WireFormatInfo;
import org.apache.activemq.openwire.OpenWireFormat;

/** A socket that speaks OpenWire command by command: version 12, loose, without cache. */
final class RawPeer implements AutoCloseable {
    private final Socket socket;
    private final DataInputStream in;
    private final OpenWireFormat format = new OpenWireFormat(OpenWireFormat.DEFAULT_WIRE_VERSION);

    RawPeer(int port) throws IOException {
        socket = new Socket(InetAddress.getLoopbackAddress(), port);
        socket.setSoTimeout((int) JmsTest.SOON);
        socket.setTcpNoDelay(true);
        in = new DataInputStream(socket.getInputStream());
        format.setVersion(12);
        format.setCacheEnabled(false);
        format.setTightEncodingEnabled(false);
    }

    /** Exchanges wire formats. */
    void handshake() throws IOException {
        WireFormatInfo own = new WireFormatInfo();
        own.setVersion(12);
        own.setCacheEnabled(false);
        own.setCacheSize(0);
        own.setTightEncodingEnabled(false);
        own.setStackTraceEnabled(true);
        own.setTcpNoDelayEnabled(true);
        own.setMaxInactivityDuration(0);
        own.setMaxInactivityDurationInitalDelay(0);
        send(own);
        expect(WireFormatInfo.class);
    }

    /** Exchanges wire formats and adds a connection, as a client does. */
    void connect(String clientId) throws IOException {
        handshake();
        ConnectionInfo info = new ConnectionInfo(new ConnectionId("ID:raw-" + System.nanoTime()));
        info.setClientId(clientId);
        info.setResponseRequired(true);
        info.setCommandId(1);
        send(info);
        JmsTest.equal(Response.class, expect(Response.class).getClass(), "answer to the connection");
    }

    byte[] marshal(Command command) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        format.marshal(command, new DataOutputStream(bytes));
        return bytes.toByteArray();
    }

    void send(Command command) throws IOException {
        sendBytes(marshal(command));
    }

    void sendBytes(byte[] bytes) throws IOException {
        socket.getOutputStream().write(bytes);
        socket.getOutputStream().flush();
    }

    /** The next command of this class; others that come before it are passed over. */
    <T extends Command> T expect(Class<T> type) throws IOException {
        while (true) {
            Object command = format.unmarshal(in);
            if (type.isInstance(command)) {
                return type.cast(command);
            }
        }
    }

    /** Waits until the broker has closed the socket. */
    void expectEnd() throws IOException {
        try {
            while (true) {
                format.unmarshal(in);
            }
        } catch (EOFException | SocketException end) {
            return;
        }
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
