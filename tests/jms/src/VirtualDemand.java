import javax.jms.MessageConsumer;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.DataStructure;
import org.apache.activemq.command.RemoveInfo;

/** What other brokers are told of those who want copies of virtual destinations. */
final class VirtualDemand extends ConfiguredTest {
    private static final String ADVISORIES = "ActiveMQ.Advisory.VirtualDestination.Consumer.";

    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.attributes("useVirtualDestSubs='true'").elements(virtual("""
                <virtualTopic name="VirtualTopic.>" prefix="Consumer.*."/>
                <compositeQueue name="Orders">
                  <forwardTo><queue physicalName="Orders.A"/><topic physicalName="Orders.B"/></forwardTo>
                </compositeQueue>
                <compositeTopic name="Prices"><forwardTo><queue physicalName="Prices.A"/></forwardTo></compositeTopic>
                """));
    }

    private MessageConsumer watch() throws Exception {
        return auto(connect()).createConsumer(new ActiveMQTopic(ADVISORIES + ">"));
    }

    private static void told(MessageConsumer advisories, ActiveMQMessageConsumer consumer, ActiveMQDestination of)
            throws Exception {
        ActiveMQMessage advisory = (ActiveMQMessage) take(advisories);
        equal(ADVISORIES + of.getDestinationTypeAsString() + "." + of.getPhysicalName(),
                ((ActiveMQTopic) advisory.getJMSDestination()).getTopicName());
        ConsumerInfo info = (ConsumerInfo) advisory.getDataStructure();
        equal(consumer.getConsumerId(), info.getConsumerId());
        equal(of, info.getDestination());
    }

    private void comesAndGoes(ActiveMQDestination from, ActiveMQDestination of) throws Exception {
        MessageConsumer first = watch();
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) auto(connect()).createConsumer(from);
        told(first, consumer, of);
        MessageConsumer late = watch();
        told(late, consumer, of);
        nothing(first);
        consumer.close();
        for (MessageConsumer each : new MessageConsumer[] {first, late}) {
            DataStructure gone = ((ActiveMQMessage) take(each)).getDataStructure();
            equal(consumer.getConsumerId(), ((RemoveInfo) gone).getObjectId());
        }
    }

    @Test
    void a_consumer_of_a_queue_of_a_virtual_topic_is_told_as_one_of_the_topic() throws Exception {
        comesAndGoes(new ActiveMQQueue("Consumer.A.VirtualTopic.T"), new ActiveMQTopic("VirtualTopic.T"));
    }

    @Test
    void a_consumer_of_what_a_composite_forwards_to_is_told_as_one_of_the_composite() throws Exception {
        comesAndGoes(new ActiveMQQueue("Orders.A"), new ActiveMQQueue("Orders"));
        comesAndGoes(new ActiveMQTopic("Orders.B"), new ActiveMQQueue("Orders"));
        comesAndGoes(new ActiveMQQueue("Prices.A"), new ActiveMQTopic("Prices"));
    }

    @Test
    void of_other_consumers_nothing_is_told() throws Exception {
        MessageConsumer advisories = watch();
        auto(connect()).createConsumer(new ActiveMQQueue("Orders"));
        auto(connect()).createConsumer(new ActiveMQTopic("VirtualTopic.T"));
        nothing(advisories);
    }
}
