import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import javax.jms.InvalidClientIDException;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.Command;
import org.apache.activemq.command.ConnectionControl;
import org.apache.activemq.command.ConnectionError;
import org.apache.activemq.command.ConnectionId;
import org.apache.activemq.command.ConnectionInfo;
import org.apache.activemq.command.ConsumerControl;
import org.apache.activemq.command.ConsumerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.ControlCommand;
import org.apache.activemq.command.DestinationInfo;
import org.apache.activemq.command.ExceptionResponse;
import org.apache.activemq.command.FlushCommand;
import org.apache.activemq.command.KeepAliveInfo;
import org.apache.activemq.command.LocalTransactionId;
import org.apache.activemq.command.MessageAck;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.ProducerId;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.RemoveInfo;
import org.apache.activemq.command.Response;
import org.apache.activemq.command.SessionId;
import org.apache.activemq.command.SessionInfo;
import org.apache.activemq.command.TransactionInfo;

/** Commands that no JMS call sends so, and bytes that are no commands. */
final class RawCommands extends JmsTest {
    @Test
    void a_consumer_for_an_unknown_session_is_refused() throws Exception {
        ActiveMQConnection connection = connect();
        ConsumerInfo info = consumerInfo(new SessionId(id(connection), 77), 1);
        JMSException refusal = refused(JMSException.class, () -> connection.syncSendPacket(info));
        caused("Cannot add a consumer to a session that had not been registered: "
                + id(connection) + ":77", refusal);
    }

    @Test
    void a_producer_for_an_unknown_session_is_refused() throws Exception {
        ActiveMQConnection connection = connect();
        ProducerInfo info = new ProducerInfo(new ProducerId(new SessionId(id(connection), 77), 1));
        info.setDestination(queue());
        JMSException refusal = refused(JMSException.class, () -> connection.syncSendPacket(info));
        caused("Cannot add a producer to a session that had not been registered: "
                + id(connection) + ":77", refusal);
    }

    @Test
    void removing_what_is_not_there_is_refused() throws Exception {
        ActiveMQConnection connection = connect();
        SessionId unknown = new SessionId(id(connection), 77);
        SessionId known = sessionId(auto(connection));
        caused("Cannot remove a consumer from a session that had not been registered: " + unknown,
                refused(JMSException.class, () -> connection.syncSendPacket(remove(new ConsumerId(unknown, 1)))));
        caused("Cannot remove a consumer that had not been registered: " + known + ":99",
                refused(JMSException.class, () -> connection.syncSendPacket(remove(new ConsumerId(known, 99)))));
        caused("Cannot remove a producer from a session that had not been registered: " + unknown,
                refused(JMSException.class, () -> connection.syncSendPacket(remove(new ProducerId(unknown, 1)))));
        caused("Cannot remove a producer that had not been registered: " + known + ":99",
                refused(JMSException.class, () -> connection.syncSendPacket(remove(new ProducerId(known, 99)))));
        caused("Cannot remove session that had not been registered: " + unknown,
                refused(JMSException.class, () -> connection.syncSendPacket(remove(unknown))));
        stillWorks(connection);
    }

    @Test
    void adding_again_what_is_there_is_answered_and_changes_nothing() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) session.createConsumer(queue());
        ConsumerInfo again = consumerInfo(sessionId(session), consumer.getConsumerId().getValue());
        for (Command command : List.of(again, new SessionInfo(sessionId(session)),
                new ProducerInfo(new ProducerId(sessionId(session), 50)),
                new ProducerInfo(new ProducerId(sessionId(session), 50)))) {
            check(connection.syncSendPacket(command) instanceof Response, "no response to " + command);
        }
        send(session, queue(), "one");
        equal("one", takeText(consumer));
        nothing(consumer);
    }

    @Test
    void ending_an_unknown_transaction_is_refused() throws Exception {
        ActiveMQConnection connection = connect();
        LocalTransactionId unknown = new LocalTransactionId(id(connection), 77);
        for (byte type : new byte[] {TransactionInfo.COMMIT_ONE_PHASE, TransactionInfo.ROLLBACK}) {
            JMSException refusal = refused(JMSException.class,
                    () -> connection.syncSendPacket(new TransactionInfo(id(connection), unknown, type)));
            equal("Transaction '" + unknown + "' has not been started.", refusal.getMessage());
        }
        stillWorks(connection);
    }

    @Test
    void beginning_a_transaction_twice_is_answered() throws Exception {
        ActiveMQConnection connection = connect();
        LocalTransactionId transaction = new LocalTransactionId(id(connection), 78);
        for (byte type : new byte[] {TransactionInfo.BEGIN, TransactionInfo.BEGIN, TransactionInfo.COMMIT_ONE_PHASE}) {
            connection.syncSendPacket(new TransactionInfo(id(connection), transaction, type));
        }
    }

    @Test
    void a_control_command_does_nothing() throws Exception {
        ActiveMQConnection connection = connect();
        ControlCommand command = new ControlCommand();
        command.setCommand("shutdown");
        equal(Response.class, connection.syncSendPacket(command).getClass());
        stillWorks(connect());
    }

    @Test
    void commands_without_effect_are_answered() throws Exception {
        ActiveMQConnection connection = connect();
        equal(Response.class, connection.syncSendPacket(new FlushCommand()).getClass());
        ConnectionControl control = new ConnectionControl();
        control.setFaultTolerant(true);
        equal(Response.class, connection.syncSendPacket(control).getClass());
        ConnectionError error = new ConnectionError();
        error.setException(new java.io.IOException("of the client"));
        error.setConnectionId(id(connection));
        connection.asyncSendPacket(error);
        stillWorks(connection);
    }

    @Test
    void a_keep_alive_that_asks_for_it_is_echoed() throws Exception {
        try (RawPeer peer = new RawPeer(Broker.shared().port())) {
            peer.handshake();
            KeepAliveInfo asking = new KeepAliveInfo();
            asking.setResponseRequired(true);
            peer.send(asking);
            KeepAliveInfo echo = peer.expect(KeepAliveInfo.class);
            check(!echo.isResponseRequired(), "the echo asks again");
        }
    }

    @Test
    void an_acknowledgement_for_an_unknown_consumer_is_answered() throws Exception {
        ActiveMQConnection connection = connect();
        MessageAck ack = new MessageAck();
        ack.setConsumerId(new ConsumerId(sessionId(auto(connection)), 55));
        ack.setDestination(queue());
        ack.setAckType(MessageAck.STANDARD_ACK_TYPE);
        ack.setMessageCount(1);
        ack.setLastMessageId(new MessageId("ID:nobody:1:1:1:1:1"));
        equal(Response.class, connection.syncSendPacket(ack).getClass());
        stillWorks(connection);
    }

    @Test
    void an_acknowledgement_for_an_unknown_message_is_answered() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) session.createConsumer(queue());
        MessageAck ack = new MessageAck();
        ack.setConsumerId(consumer.getConsumerId());
        ack.setDestination(queue());
        ack.setAckType(MessageAck.STANDARD_ACK_TYPE);
        ack.setMessageCount(1);
        ack.setFirstMessageId(new MessageId("ID:nobody:1:1:1:1:1"));
        ack.setLastMessageId(new MessageId("ID:nobody:1:1:1:1:1"));
        equal(Response.class, connection.syncSendPacket(ack).getClass());
        send(session, queue(), "one");
        equal("one", takeText(consumer));
    }

    @Test
    void a_destination_in_use_cannot_be_removed() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer consumer = auto(connection).createConsumer(queue());
        JMSException refusal = refused(JMSException.class, () -> connection.destroyDestination(queue()));
        contains("Destination: queue://" + queue().getPhysicalName()
                + " still has an active subscription: QueueSubscription: consumer="
                + ((ActiveMQMessageConsumer) consumer).getConsumerId(), refusal.getMessage());
        MessageConsumer listener = auto(connection).createConsumer(topic());
        JMSException other = refused(JMSException.class, () -> connection.destroyDestination(topic()));
        contains("Destination: topic://" + topic().getPhysicalName()
                + " still has an active subscription: TopicSubscription: consumer="
                + ((ActiveMQMessageConsumer) listener).getConsumerId(), other.getMessage());
    }

    @Test
    void a_destination_that_nobody_uses_is_removed_with_its_messages() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), "gone");
        connection.destroyDestination(queue());
        equal(List.of(), drain(queue()));
    }

    @Test
    void removing_an_unknown_destination_is_answered() throws Exception {
        ActiveMQConnection connection = connect();
        connection.destroyDestination(queue("never used"));
        connection.destroyDestination(topic("never used"));
    }

    @Test
    void a_destination_can_be_added_by_command() throws Exception {
        ActiveMQConnection connection = connect();
        DestinationInfo info = new DestinationInfo(id(connection), DestinationInfo.ADD_OPERATION_TYPE, queue());
        equal(Response.class, connection.syncSendPacket(info).getClass());
        equal(Response.class, connection.syncSendPacket(info).getClass());
        eventually("it is known", () -> connection.getDestinationSource().getQueues().contains(queue()));
    }

    @Test
    void a_consumer_control_changes_the_prefetch() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=1");
        Session session = client(connection);
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) session.createConsumer(queue());
        sendNumbers(auto(connect()), queue(), 10);
        eventually("one is held", () -> consumer.getMessageSize() == 1);
        ConsumerControl control = new ConsumerControl();
        control.setConsumerId(consumer.getConsumerId());
        control.setDestination(queue());
        control.setPrefetch(4);
        equal(Response.class, connection.syncSendPacket(control).getClass());
        eventually("four are held", () -> consumer.getMessageSize() == 4);
    }

    @Test
    void a_consumer_without_destination_or_id_does_not_end_the_broker() throws Exception {
        ActiveMQConnection connection = connect();
        ConsumerInfo info = new ConsumerInfo(new ConsumerId(sessionId(auto(connection)), 9));
        try {
            connection.syncSendPacket(info);
        } catch (JMSException refusal) {
            check(refusal.getMessage() != null || refusal.getCause() != null, "a refusal without reason");
        }
        stillWorks(connect());
    }

    @Test
    void a_connection_without_client_id_is_refused() throws Exception {
        try (RawPeer peer = new RawPeer(Broker.shared().port())) {
            peer.handshake();
            ConnectionInfo info = new ConnectionInfo(new ConnectionId("ID:raw-" + System.nanoTime()));
            info.setResponseRequired(true);
            info.setCommandId(1);
            peer.send(info);
            ExceptionResponse answer = peer.expect(ExceptionResponse.class);
            equal(1, answer.getCorrelationId());
            equal(InvalidClientIDException.class, answer.getException().getClass());
            equal("No clientID specified for connection request", answer.getException().getMessage());
        }
    }

    @Test
    void the_same_connection_on_a_new_socket_takes_over_from_the_old_one() throws Exception {
        ConnectionInfo info = new ConnectionInfo(new ConnectionId("ID:again-" + System.nanoTime()));
        info.setClientId(name());
        info.setResponseRequired(true);
        info.setCommandId(1);
        try (RawPeer first = new RawPeer(Broker.shared().port()); RawPeer second = new RawPeer(Broker.shared().port())) {
            first.handshake();
            first.send(info);
            equal(Response.class, first.expect(Response.class).getClass());
            second.handshake();
            second.send(info);
            equal(Response.class, second.expect(Response.class).getClass());
            first.expectEnd();
        }
    }

    @Test
    void every_request_gets_one_answer_with_its_number() throws Exception {
        try (RawPeer peer = new RawPeer(Broker.shared().port())) {
            peer.connect(name());
            for (int i = 10; i < 30; i++) {
                FlushCommand command = new FlushCommand();
                command.setResponseRequired(true);
                command.setCommandId(i);
                peer.send(command);
            }
            for (int i = 10; i < 30; i++) {
                equal(i, peer.expect(Response.class).getCorrelationId());
            }
        }
    }

    @Test
    void bytes_that_are_no_openwire_end_the_connection() throws Exception {
        for (byte[] garbage : List.of("GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes(StandardCharsets.US_ASCII),
                frame(new byte[] {1, 'W', 'r', 'o', 'n', 'g', '!', '!', '!', 0, 0, 0, 12, 0}),
                new byte[] {0x7f, -1, -1, -1, 1, 2, 3, 4})) {
            try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), Broker.shared().port())) {
                socket.setSoTimeout((int) SOON);
                socket.getOutputStream().write(garbage);
                DataInputStream in = new DataInputStream(socket.getInputStream());
                while (in.read() >= 0) {
                    // Its own wire format may come first; the end has to come.
                }
            } catch (java.net.SocketException reset) {
                check(reset.getMessage().contains("reset"), "" + reset);
            }
        }
        stillWorks(connect());
    }

    @Test
    void an_unknown_command_ends_its_connection_only() throws Exception {
        try (RawPeer peer = new RawPeer(Broker.shared().port())) {
            peer.connect(name());
            peer.sendBytes(frame(new byte[] {(byte) 200, 0, 0, 0, 1, 0}));
            peer.expectEnd();
        }
        stillWorks(connect());
    }

    @Test
    void a_frame_over_the_limit_ends_its_connection_only() throws Exception {
        try (RawPeer peer = new RawPeer(java.net.URI.create(Broker.shared().smallUrl()).getPort())) {
            peer.connect(name());
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            new DataOutputStream(bytes).writeInt(100_001);
            peer.sendBytes(bytes.toByteArray());
            peer.expectEnd();
        }
        stillWorks(connectTo(Broker.shared().smallUrl()));
    }

    @Test
    void a_frame_that_is_cut_in_pieces_is_read() throws Exception {
        try (RawPeer peer = new RawPeer(Broker.shared().port())) {
            peer.connect(name());
            FlushCommand command = new FlushCommand();
            command.setResponseRequired(true);
            command.setCommandId(9);
            for (byte each : peer.marshal(command)) {
                peer.sendBytes(new byte[] {each});
            }
            equal(9, peer.expect(Response.class).getCorrelationId());
        }
    }

    private static byte[] frame(byte[] body) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeInt(body.length);
        out.write(body);
        return bytes.toByteArray();
    }

    /** The client passes a refusal that is no JMSException as the cause of one. */
    private static void caused(String text, JMSException refusal) {
        check(refusal.getCause() instanceof IllegalStateException, "cause " + refusal.getCause());
        contains(text, refusal.getCause().getMessage());
        contains(text, refusal.getMessage());
    }

    private void stillWorks(ActiveMQConnection connection) throws Exception {
        Session session = auto(connection);
        ActiveMQQueue queue = queue("still works");
        send(session, queue, "yes");
        MessageConsumer consumer = session.createConsumer(queue);
        equal("yes", takeText(consumer));
        consumer.close();
    }

    private static ConnectionId id(ActiveMQConnection connection) {
        return connection.getConnectionInfo().getConnectionId();
    }

    /** A client refuses a bad selector itself, so only a command can bring it to the broker. */
    static ConsumerInfo consumerWithSelector(Session session, ActiveMQDestination destination, String selector)
            throws JMSException {
        ConsumerInfo info = new ConsumerInfo(new ConsumerId(sessionId(session), 1000 + selector.hashCode()));
        info.setDestination(destination);
        info.setPrefetchSize(10);
        info.setSelector(selector);
        return info;
    }

    /** The client hides the id of a session; its consumers show it. */
    private static SessionId sessionId(Session session) throws JMSException {
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer)
                session.createConsumer(new ActiveMQTopic("RawCommands.id"));
        consumer.close();
        return consumer.getConsumerId().getParentId();
    }

    private ConsumerInfo consumerInfo(SessionId session, long value) {
        ConsumerInfo info = new ConsumerInfo(new ConsumerId(session, value));
        info.setDestination(queue());
        info.setPrefetchSize(10);
        return info;
    }

    private static RemoveInfo remove(org.apache.activemq.command.DataStructure id) {
        return new RemoveInfo(id);
    }
}
