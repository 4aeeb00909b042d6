import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageFormatException;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TemporaryTopic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;

/** Headers and properties: what is sent arrives, what the broker sets is right. */
final class Headers extends JmsTest {
    @Test
    void properties_of_every_type_arrive_with_their_type() throws Exception {
        Message message = roundTrip(sent -> {
            sent.setBooleanProperty("boolean", true);
            sent.setByteProperty("byte", (byte) -1);
            sent.setShortProperty("short", Short.MIN_VALUE);
            sent.setIntProperty("int", Integer.MAX_VALUE);
            sent.setLongProperty("long", Long.MIN_VALUE);
            sent.setFloatProperty("float", 0.1f);
            sent.setDoubleProperty("double", 0.1);
            sent.setStringProperty("string", Sample.PLAIN);
            sent.setStringProperty("empty", "");
            sent.setStringProperty("large", "p".repeat(100_000));
            sent.setObjectProperty("list", List.of(1, "two"));
            sent.setObjectProperty("null", null);
        });
        equal(true, message.getObjectProperty("boolean"));
        equal((byte) -1, message.getObjectProperty("byte"));
        equal(Short.MIN_VALUE, message.getObjectProperty("short"));
        equal(Integer.MAX_VALUE, message.getObjectProperty("int"));
        equal(Long.MIN_VALUE, message.getObjectProperty("long"));
        equal(0.1f, message.getObjectProperty("float"));
        equal(0.1, message.getObjectProperty("double"));
        equal(Sample.PLAIN, message.getStringProperty("string"));
        equal("", message.getStringProperty("empty"));
        equal("p".repeat(100_000), message.getStringProperty("large"));
        equal(List.of(1, "two"), message.getObjectProperty("list"));
        equal(null, message.getObjectProperty("null"));
        check(message.propertyExists("null"), "the null property is gone");
        check(!message.propertyExists("absent"), "absent property exists");
    }

    @Test
    void a_thousand_properties_arrive() throws Exception {
        Message message = roundTrip(sent -> {
            for (int i = 0; i < 1000; i++) {
                sent.setIntProperty("property" + i, i);
            }
        });
        Set<Object> names = new HashSet<>(Collections.list(message.getPropertyNames()));
        for (int i = 0; i < 1000; i++) {
            check(names.contains("property" + i), "no property" + i);
            equal(i, message.getIntProperty("property" + i));
        }
    }

    @Test
    void a_property_can_be_read_as_the_types_that_jms_allows() throws Exception {
        Message message = roundTrip(sent -> {
            sent.setIntProperty("int", 7);
            sent.setStringProperty("number", "8");
            sent.setStringProperty("word", "x");
        });
        equal(7L, message.getLongProperty("int"));
        equal("7", message.getStringProperty("int"));
        equal(8, message.getIntProperty("number"));
        refused(MessageFormatException.class, () -> message.getShortProperty("int"));
        refused(NumberFormatException.class, () -> message.getIntProperty("word"));
    }

    @Test
    void a_property_that_is_no_value_is_refused() throws Exception {
        Message message = auto(connect()).createMessage();
        refused(MessageFormatException.class, () -> message.setObjectProperty("o", new Object()));
        refused(IllegalArgumentException.class, () -> message.setStringProperty("", "x"));
    }

    @Test
    void headers_of_the_sender_arrive() throws Exception {
        Message message = roundTrip(sent -> {
            sent.setJMSCorrelationID("correlation " + Sample.PLAIN);
            sent.setJMSType("type");
            sent.setJMSReplyTo(topic("reply"));
            sent.setStringProperty("JMSXGroupID", "group");
            sent.setIntProperty("JMSXGroupSeq", 5);
        });
        equal("correlation " + Sample.PLAIN, message.getJMSCorrelationID());
        equal("type", message.getJMSType());
        equal(topic("reply"), message.getJMSReplyTo());
        equal("group", message.getStringProperty("JMSXGroupID"));
        equal(5, message.getIntProperty("JMSXGroupSeq"));
        equal(queue(), message.getJMSDestination());
    }

    @Test
    void headers_that_nobody_set_are_empty() throws Exception {
        Message message = roundTrip(sent -> { });
        equal(null, message.getJMSCorrelationID());
        equal(null, message.getJMSType());
        equal(null, message.getJMSReplyTo());
        equal(null, message.getObjectProperty("JMSXGroupID"));
        equal(null, message.getObjectProperty("JMSXUserID"));
        equal(0L, message.getJMSExpiration());
        equal(false, message.getJMSRedelivered());
        equal(1, deliveryCount(message));
        equal(4, message.getJMSPriority());
        equal(DeliveryMode.PERSISTENT, message.getJMSDeliveryMode());
    }

    @Test
    void a_correlation_id_may_be_bytes() throws Exception {
        byte[] id = "bytes of an id".getBytes("UTF-8");
        Message message = roundTrip(sent -> sent.setJMSCorrelationIDAsBytes(id));
        equal(id, message.getJMSCorrelationIDAsBytes());
    }

    @Test
    void a_reply_destination_of_every_kind_arrives() throws Exception {
        Session session = auto(connect());
        TemporaryQueue temporaryQueue = session.createTemporaryQueue();
        TemporaryTopic temporaryTopic = session.createTemporaryTopic();
        for (javax.jms.Destination reply : List.of(queue("reply"), topic("reply"), temporaryQueue, temporaryTopic)) {
            equal(reply, roundTrip(sent -> sent.setJMSReplyTo(reply)).getJMSReplyTo());
        }
    }

    @Test
    void the_message_id_is_the_one_that_the_sender_saw() throws Exception {
        String[] ids = new String[1];
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        MessageProducer producer = session.createProducer(queue());
        Set<String> seen = new HashSet<>();
        for (int i = 0; i < 10; i++) {
            Message message = session.createMessage();
            producer.send(message);
            ids[0] = message.getJMSMessageID();
            check(ids[0].startsWith("ID:"), ids[0]);
            equal(ids[0], take(consumer).getJMSMessageID());
            seen.add(ids[0]);
        }
        equal(10, seen.size());
    }

    @Test
    void time_to_live_priority_and_mode_of_the_producer_are_on_the_message() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        MessageProducer producer = session.createProducer(queue());
        for (int priority = 0; priority <= 9; priority++) {
            for (int mode : new int[] {DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT}) {
                long before = System.currentTimeMillis();
                producer.send(session.createMessage(), mode, priority, 100_000 + priority);
                Message message = take(consumer);
                equal(priority, message.getJMSPriority());
                equal(mode, message.getJMSDeliveryMode());
                equal(message.getJMSTimestamp() + 100_000 + priority, message.getJMSExpiration());
                check(message.getJMSTimestamp() >= before, "timestamp before sending");
                check(message.getJMSTimestamp() <= System.currentTimeMillis(), "timestamp after now");
            }
        }
    }

    @Test
    void a_producer_may_leave_out_the_timestamp() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        MessageProducer producer = session.createProducer(queue());
        producer.setDisableMessageTimestamp(true);
        producer.setDisableMessageID(true);
        producer.send(session.createTextMessage("no timestamp"));
        Message message = take(consumer);
        equal(0L, message.getJMSTimestamp());
        check(message.getJMSMessageID() != null, "no id");
    }

    @Test
    void the_broker_notes_when_a_message_came_in_and_went_out() throws Exception {
        long before = System.currentTimeMillis();
        ActiveMQMessage message = (ActiveMQMessage) roundTrip(sent -> { });
        check(message.getBrokerInTime() >= before, "in time " + message.getBrokerInTime());
        check(message.getBrokerOutTime() >= message.getBrokerInTime(), "out time " + message.getBrokerOutTime());
        check(message.getBrokerOutTime() <= System.currentTimeMillis(), "out time is in the future");
    }

    @Test
    void the_broker_numbers_the_messages_of_a_queue_upwards() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        sendNumbers(session, queue(), 5);
        long last = 0;
        for (int i = 0; i < 5; i++) {
            long sequence = ((ActiveMQMessage) take(consumer)).getMessageId().getBrokerSequenceId();
            check(sequence > last, sequence + " after " + last);
            last = sequence;
        }
    }

    @Test
    void the_broker_is_not_in_the_broker_path_of_its_own_messages() throws Exception {
        ActiveMQMessage message = (ActiveMQMessage) roundTrip(sent -> { });
        equal(null, message.getBrokerPath());
        equal(null, message.getOriginalDestination());
    }

    @Test
    void a_delay_is_ignored_while_the_scheduler_is_off() throws Exception {
        Message message = roundTrip(sent -> {
            sent.setLongProperty("AMQ_SCHEDULED_DELAY", 3_600_000);
            sent.setIntProperty("AMQ_SCHEDULED_REPEAT", 3);
        });
        equal(3_600_000L, message.getLongProperty("AMQ_SCHEDULED_DELAY"));
        nothing(auto(connect()).createConsumer(queue()));
    }

    @Test
    void priority_does_not_change_the_order_of_a_queue_unless_configured() throws Exception {
        equal(List.of("1", "9", "4", "0"), inOrderOfPriorities(queue(), "1", "9", "4", "0"));
    }

    @Test
    void a_prioritized_queue_gives_the_highest_priority_first() throws Exception {
        equal(List.of("9", "5", "4", "1", "0"), inOrderOfPriorities(
                new org.apache.activemq.command.ActiveMQQueue("Prioritized." + name()), "1", "9", "4", "0", "5"));
    }

    @Test
    void a_client_orders_what_it_holds_by_priority_when_told_to() throws Exception {
        ActiveMQConnection connection = connect("jms.messagePrioritySupported=true");
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        MessageProducer producer = session.createProducer(queue());
        for (int priority = 0; priority <= 9; priority++) {
            producer.send(session.createTextMessage("" + priority), DeliveryMode.PERSISTENT, priority, 0);
        }
        eventually("all are there", () ->
                ((org.apache.activemq.ActiveMQMessageConsumer) consumer).getMessageSize() == 10);
        List<String> expected = new ArrayList<>(numbers(0, 10));
        Collections.reverse(expected);
        equal(expected, takeTexts(consumer, 10));
    }

    private List<String> inOrderOfPriorities(javax.jms.Destination queue, String... priorities) throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue);
        for (String priority : priorities) {
            producer.send(session.createTextMessage(priority), DeliveryMode.PERSISTENT, Integer.parseInt(priority), 0);
        }
        return takeTexts(session.createConsumer(queue), priorities.length);
    }

    private interface Change {
        void apply(Message message) throws Exception;
    }

    private Message roundTrip(Change change) throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        Message message = session.createTextMessage("headers");
        change.apply(message);
        session.createProducer(queue()).send(message);
        Message got = take(consumer);
        consumer.close();
        return got;
    }
}
