import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;

/** A small TCP proxy in front of the broker, so that a test can break or hold a connection. */
final class Proxy implements AutoCloseable {
    private static final int BUFFER_BYTES = 64 * 1024;

    private final ServerSocket server;
    private final int target;
    private final List<Socket> sockets = new ArrayList<>();
    private boolean frozen;
    private boolean refusing;
    private boolean requestsHeld;
    private boolean answersHeld;
    private int accepted;

    Proxy(int target) throws IOException {
        this.target = target;
        server = new ServerSocket(0, 100, InetAddress.getLoopbackAddress());
        start("accept", this::accept);
    }

    String url() {
        return "tcp://127.0.0.1:" + server.getLocalPort();
    }

    /** Breaks every connection there is; new ones are accepted. */
    synchronized void cut() {
        sockets.forEach(Proxy::drop);
        sockets.clear();
    }

    /** Turns connections away until {@link #admit}. */
    synchronized void refuse() {
        refusing = true;
        cut();
    }

    synchronized void admit() {
        refusing = false;
    }

    /** Lets no byte through any more in either direction, with the sockets open. */
    synchronized void freeze() {
        frozen = true;
    }

    /** Passes nothing on until {@link #release}; what comes meanwhile waits in the sockets. */
    synchronized void hold() {
        requestsHeld = true;
        answersHeld = true;
    }

    /** Passes on what clients send and, until {@link #release}, nothing that the broker answers. */
    synchronized void holdAnswers() {
        answersHeld = true;
    }

    synchronized void release() {
        requestsHeld = false;
        answersHeld = false;
        notifyAll();
    }

    private synchronized void awaitRelease(BooleanSupplier held) throws IOException {
        while (held.getAsBoolean()) {
            try {
                wait();
            } catch (InterruptedException e) {
                throw new IOException("interrupted", e);
            }
        }
    }

    /** How many connections clients have opened. */
    synchronized int accepted() {
        return accepted;
    }

    private void accept() throws IOException {
        while (true) {
            Socket client = server.accept();
            synchronized (this) {
                if (refusing) {
                    client.close();
                    continue;
                }
                accepted++;
                Socket broker;
                try {
                    broker = new Socket(InetAddress.getLoopbackAddress(), target);
                } catch (IOException e) {
                    client.close();
                    continue;
                }
                client.setTcpNoDelay(true);
                broker.setTcpNoDelay(true);
                sockets.add(client);
                sockets.add(broker);
                start("to the broker", () -> copy(client, broker, () -> requestsHeld));
                start("to the client", () -> copy(broker, client, () -> answersHeld));
            }
        }
    }

    private void copy(Socket from, Socket to, BooleanSupplier held) {
        try (InputStream in = from.getInputStream(); OutputStream out = to.getOutputStream()) {
            byte[] buffer = new byte[BUFFER_BYTES];
            for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
                awaitRelease(held);
                if (!isFrozen()) {
                    out.write(buffer, 0, count);
                }
            }
        } catch (IOException e) {
            // One side is gone, so the other has to go too: below.
        } finally {
            drop(from);
            drop(to);
        }
    }

    private synchronized boolean isFrozen() {
        return frozen;
    }

    private static void drop(Socket socket) {
        try {
            socket.close();
        } catch (IOException e) {
            throw new IllegalStateException("a socket cannot be closed", e);
        }
    }

    private interface Loop {
        void run() throws IOException;
    }

    private static void start(String name, Loop loop) {
        Thread thread = new Thread(() -> {
            try {
                loop.run();
            } catch (IOException e) {
                // The server socket was closed: the test is over.
            }
        }, "proxy " + name);
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void close() throws IOException {
        server.close();
        release();
        cut();
    }
}
