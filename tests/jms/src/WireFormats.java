import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.openwire.OpenWireFormat;
import org.apache.activemq.transport.WireFormatNegotiator;
import org.apache.activemq.transport.tcp.TcpTransport;

/** Every version of the protocol and every way to encode it. */
final class WireFormats extends JmsTest {
    @Test
    void version_1_carries_everything() throws Exception {
        carriesEverything(1);
    }

    @Test
    void version_9_carries_everything() throws Exception {
        carriesEverything(9);
    }

    @Test
    void version_10_carries_everything() throws Exception {
        carriesEverything(10);
    }

    @Test
    void version_11_carries_everything() throws Exception {
        carriesEverything(11);
    }

    @Test
    void version_12_carries_everything() throws Exception {
        carriesEverything(12);
    }

    /** Tight and loose, with and without cache. */
    private void carriesEverything(int version) throws Exception {
        for (boolean tight : new boolean[] {true, false}) {
            for (boolean cache : new boolean[] {true, false}) {
                String options = "wireFormat.version=" + version + "&wireFormat.tightEncodingEnabled=" + tight
                        + "&wireFormat.cacheEnabled=" + cache;
                ActiveMQConnection connection = connect(options);
                OpenWireFormat format = format(connection);
                equal(version, format.getVersion(), options);
                equal(tight, format.isTightEncodingEnabled(), options);
                equal(cache, format.isCacheEnabled(), options);
                everyday(connection, version);
                connection.close();
            }
        }
    }

    @Test
    void frames_without_a_size_before_them() throws Exception {
        for (String options : List.of("", "&wireFormat.tightEncodingEnabled=false", "&wireFormat.version=9")) {
            ActiveMQConnection connection = connectTo(
                    with(Broker.shared().bareUrl(), "wireFormat.sizePrefixDisabled=true" + options));
            check(format(connection).isSizePrefixDisabled(), "the size is not left out");
            everyday(connection, 12);
            connection.close();
        }
    }

    @Test
    void a_side_that_wants_sizes_gets_them() throws Exception {
        for (String url : List.of(Broker.shared().bareUrl(),
                with(Broker.shared().url(), "wireFormat.sizePrefixDisabled=true"))) {
            ActiveMQConnection connection = connectTo(url);
            check(!format(connection).isSizePrefixDisabled(), "the size is left out");
            everyday(connection, 12);
            connection.close();
        }
    }

    @Test
    void the_smaller_cache_and_frame_of_both_sides_count() throws Exception {
        OpenWireFormat own = format(connect("wireFormat.cacheSize=500&wireFormat.maxFrameSize=50000"));
        equal(500, own.getPreferedWireFormatInfo().getCacheSize());
        equal(50_000L, own.getMaxFrameSize());
        equal(100_000L, format(connectTo(Broker.shared().smallUrl())).getMaxFrameSize());
    }

    @Test
    void a_small_cache_carries_everything() throws Exception {
        for (int size : new int[] {100, 300, 500}) {
            ActiveMQConnection connection = connect("wireFormat.cacheSize=" + size);
            everyday(connection, 12);
            connection.close();
        }
    }

    @Test
    void more_destinations_than_the_cache_holds() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(null);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        MessageConsumer consumer = session.createConsumer(topic(">"));
        for (int round = 0; round < 2; round++) {
            for (int i = 0; i < 1500; i++) {
                Message message = session.createTextMessage("" + i);
                message.setJMSReplyTo(topic("reply" + i));
                producer.send(topic("" + i), message);
            }
            java.util.Set<String> seen = new java.util.HashSet<>();
            for (int i = 0; i < 1500; i++) {
                Message message = take(consumer);
                String text = ((javax.jms.TextMessage) message).getText();
                check(seen.add(text), text + " came twice");
                equal(topic(text), message.getJMSDestination());
                equal(topic("reply" + text), message.getJMSReplyTo());
            }
        }
    }

    @Test
    void a_stack_trace_is_sent_to_those_who_want_it() throws Exception {
        for (boolean wanted : new boolean[] {true, false}) {
            ActiveMQConnection connection = connect("wireFormat.stackTraceEnabled=" + wanted);
            Session session = auto(connection);
            try {
                connection.syncSendPacket(RawCommands.consumerWithSelector(session, queue(), "a = = b"));
                check(false, "not refused");
            } catch (javax.jms.InvalidSelectorException refusal) {
                equal("a = = b", refusal.getMessage());
                equal(wanted, refusal.getCause() != null, "a cause");
                equal(wanted, java.util.Arrays.stream(refusal.getStackTrace())
                        .noneMatch(frame -> frame.getClassName().endsWith("BaseDataStreamMarshaller")), "a trace of the broker");
            }
        }
    }

    @Test
    void clients_of_different_versions_exchange_messages() throws Exception {
        Session old = auto(connect("wireFormat.version=1"));
        Session recent = auto(connect("wireFormat.tightEncodingEnabled=false"));
        MessageConsumer toOld = old.createConsumer(queue("to old"));
        MessageConsumer toRecent = recent.createConsumer(queue("to recent"));
        for (Sample sample : Sample.all(1)) {
            recent.createProducer(queue("to old")).send(sample.make(recent));
            sample.verify(take(toOld));
            old.createProducer(queue("to recent")).send(sample.make(old));
            sample.verify(take(toRecent));
        }
    }

    @Test
    void one_topic_message_reaches_clients_of_every_format() throws Exception {
        java.util.List<MessageConsumer> consumers = new java.util.ArrayList<>();
        for (int version : new int[] {1, 9, 10, 11, 12}) {
            for (String options : List.of("", "&wireFormat.tightEncodingEnabled=false", "&wireFormat.cacheEnabled=false")) {
                consumers.add(auto(connect("wireFormat.version=" + version + options)).createConsumer(topic()));
            }
        }
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(topic());
        for (Sample sample : Sample.all(1)) {
            producer.send(sample.make(session));
            for (MessageConsumer consumer : consumers) {
                sample.verify(take(consumer));
            }
        }
    }

    /** Every sample, headers, a transaction, a temporary queue, a browser and a refusal. */
    private void everyday(ActiveMQConnection connection, int version) throws Exception {
        ActiveMQQueue queue = queue();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue);
        MessageProducer producer = session.createProducer(queue);
        for (Sample sample : Sample.all(version)) {
            Message message = sample.make(session);
            message.setJMSCorrelationID("c");
            message.setJMSReplyTo(topic("reply"));
            message.setStringProperty("JMSXGroupID", "g");
            message.setLongProperty("long", Long.MIN_VALUE);
            producer.send(message, DeliveryMode.NON_PERSISTENT, 7, 100_000);
            ActiveMQMessage got = (ActiveMQMessage) take(consumer);
            sample.verify(got);
            equal("c", got.getJMSCorrelationID());
            equal(topic("reply"), got.getJMSReplyTo());
            equal("g", got.getGroupID());
            equal(Long.MIN_VALUE, got.getLongProperty("long"));
            equal(7, got.getJMSPriority());
            equal(queue, got.getJMSDestination());
            equal(message.getJMSMessageID(), got.getJMSMessageID());
        }
        consumer.close();
        Session transaction = transacted(connection);
        send(transaction, queue, "one", "two");
        transaction.rollback();
        send(transaction, queue, "three");
        transaction.commit();
        check(session.createBrowser(queue).getEnumeration().hasMoreElements(), "nothing to browse");
        equal("three", takeText(transaction.createConsumer(queue)));
        transaction.commit();
        transaction.close();
        TemporaryQueue temporary = session.createTemporaryQueue();
        send(session, temporary, "temporary");
        equal("temporary", takeText(session.createConsumer(temporary)));
        refusal(connection, session, queue);
    }

    /** The 6.1.7 client knows the class of a refusal in version 12 only and wraps it in the others. */
    private static void refusal(ActiveMQConnection connection, Session session, ActiveMQQueue queue) throws Exception {
        try {
            connection.syncSendPacket(RawCommands.consumerWithSelector(session, queue, "a = = b"));
            check(false, "a bad selector was not refused");
        } catch (javax.jms.JMSException refusal) {
            contains("a = = b", refusal.getMessage());
        }
    }

    private static OpenWireFormat format(ActiveMQConnection connection) {
        connection.getTransport().narrow(WireFormatNegotiator.class);
        return (OpenWireFormat) connection.getTransport().narrow(TcpTransport.class).getWireFormat();
    }
}
